"""The floor of any program of picto's shape: an empty Typer app of two commands, which whoever measures has called."""

import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def one() -> None: ...


@app.command()
def two() -> None: ...
