"""`python -m pictocli`: picto where its program is not on the path, or for one Python of several."""

from pictocli.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
