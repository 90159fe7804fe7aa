#!/usr/bin/env python
"""Django's command line for Redoubt: `python manage.py COMMAND`, from any directory."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Runs the command, with platform/ at the end of the path so that the standard library's `platform` stays visible."""
    root = Path(__file__).resolve().parent
    for folder in (root, root / "platform"):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "arena.settings.embedded")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
