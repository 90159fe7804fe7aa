"""Which machines of this installation take no work, and why."""

from __future__ import annotations

import os


def held_back() -> list[str] | None:
    """A sentence for each machine in quarantine; None where there is no installation. Raises what its database raises."""
    if "DJANGO_SETTINGS_MODULE" not in os.environ:
        from arena.settings.base import DATA_DIR

        if not (DATA_DIR / "redoubt.sqlite3").is_file():
            return None
        os.environ["DJANGO_SETTINGS_MODULE"] = "arena.settings.embedded"
    import django

    django.setup()
    from arena.jobs.models import Quarantine

    return [str(row) for row in Quarantine.objects.all()]
