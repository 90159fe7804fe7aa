"""Where an installation keeps its data unless REDOUBT_DATA names a folder."""

from __future__ import annotations

from pathlib import Path


def default_data_folder(above: Path) -> Path:
    """var/ of a source checkout; else the user's data folder, never one within the environment that an update replaces.

    above: the folder that is the checkout's root where there is one.
    """
    if (above / "pyproject.toml").is_file() and (above / "manage.py").is_file():
        return above / "var"
    from platformdirs import user_data_path

    return user_data_path("redoubt", appauthor=False)
