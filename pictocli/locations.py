"""Where picto's own files lie, when nobody says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["config_path", "default_path"]


def config_path() -> str:
    """PICTO_CONFIG, else config.toml in the platform's folder for a user's configuration."""
    if named := os.environ.get("PICTO_CONFIG"):
        return named
    import platformdirs

    return str(Path(platformdirs.user_config_dir("picto", appauthor=False)) / "config.toml")


def default_path() -> str:
    """PICTO_DB, else picto.db in the platform's folder for user data."""
    if named := os.environ.get("PICTO_DB"):
        return named
    import platformdirs

    return str(Path(platformdirs.user_data_dir("picto", appauthor=False)) / "picto.db")
