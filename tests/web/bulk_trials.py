"""Many trials at once: Django inserts the rows of a table that inherits from another only one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from arena.jobs.models import Trial


def insert(rows: Iterable[Any]) -> list[Any]:
    """Stores evaluations, cells or first looks (all of one kind), which nobody need have made otherwise."""
    made = list(rows)
    names = [field.attname for field in Trial._meta.concrete_fields if not field.primary_key]
    trials = Trial.objects.bulk_create((Trial(**{name: getattr(row, name) for name in names}) for row in made), batch_size=500)
    model = type(made[0])
    own = [field for field in model._meta.local_concrete_fields if not field.primary_key]
    for row, trial in zip(made, trials, strict=True):
        row.key = row.trial_id = trial.key
    for start in range(0, len(made), 500):
        model._base_manager._insert(made[start : start + 500], fields=own, using="default")
    stored = dict(model._base_manager.filter(trial__gte=trials[0].key).values_list("trial", "pk"))
    for row in made:
        row.pk = stored[row.key]
    return made
