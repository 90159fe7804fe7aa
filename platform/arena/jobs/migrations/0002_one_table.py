"""Evaluations, cells and first looks of an existing site become trials, with their public ids; unfinished work is queued again."""

from typing import Any

from django.db import migrations

LOOKED_AT = 5
UNFINISHED = ("queued", "running")
LIFE = ("public_id", "seed", "reason", "detail", "created", "finished")
KEPT = ("claims", "attempts", "progress", "log")
VERDICTS = {"": "queued", "accepted": "completed", "refused": "submission_failed", "platform_failed": "platform_failed"}


def copy(apps: Any, schema_editor: Any) -> None:
    evaluation, cell = apps.get_model("evaluations", "Evaluation"), apps.get_model("matrix", "Cell")
    look = apps.get_model("matrix", "FirstLook")
    for row in evaluation.objects.select_related("submission").defer("report").iterator(500):
        trial = _trial(apps, row, "official", row.submission, state=row.state, started=row.started)
        _shards(apps, trial, apps.get_model("evaluations", "Shard").objects.filter(evaluation=row.pk))
        evaluation.objects.filter(pk=row.pk).update(trial=trial)
    for row in cell.objects.defer("report", "breaks", "distances").iterator(500):
        trial = _trial(apps, row, row.kind, row, state=row.state, started=row.started, priority=row.priority)
        _shards(apps, trial, apps.get_model("matrix", "CellShard").objects.filter(cell=row.pk))
        cell.objects.filter(pk=row.pk).update(trial=trial)
    for row in look.objects.select_related("submission").iterator(500):
        trial = _trial(apps, row, "look", row.submission, state=VERDICTS[row.verdict])
        shard = apps.get_model("jobs", "Shard")(trial=trial, index=0, start=0, stop=LOOKED_AT, state="queued")
        if trial.state not in UNFINISHED:
            _keep(shard, row)
        shard.save()
        look.objects.filter(pk=row.pk).update(trial=trial)
    _order(apps)


def _trial(apps: Any, row: Any, judge: str, owner: Any, *, state: str, **values: Any) -> Any:
    """The row's life. owner: what names its challenge and team."""
    values |= {name: getattr(row, name) for name in LIFE if hasattr(row, name)}
    if state == "running":
        state, values["started"] = "queued", None
    values |= {"challenge_id": owner.challenge_id, "team_id": owner.team_id}
    return apps.get_model("jobs", "Trial").objects.create(judge=judge, state=state, **values)


def _shards(apps: Any, trial: Any, rows: Any) -> None:
    for row in rows.order_by("index"):
        shard = apps.get_model("jobs", "Shard")(trial=trial, index=row.index, start=row.start, stop=row.stop, state="queued")
        if trial.state not in UNFINISHED:
            _keep(shard, row)
            shard.seconds, shard.finished = getattr(row, "seconds", None), getattr(row, "finished", None)
        shard.save()


def _keep(shard: Any, row: Any) -> None:
    """What pages show of a shard after its end. One that was claimed then is nobody's now."""
    shard.state = "queued" if row.state == "claimed" else row.state
    for name in KEPT:
        setattr(shard, name, getattr(row, name))


def _order(apps: Any) -> None:
    """What is replayed on a defense comes before its search."""
    trials = apps.get_model("jobs", "Trial").objects
    waiting = apps.get_model("evaluations", "Evaluation").objects.filter(state__in=UNFINISHED, current=True)
    for evaluation in waiting:
        replays = apps.get_model("matrix", "Cell").objects.filter(
            defense=evaluation.submission_id, kind="transfer", state__in=UNFINISHED
        )
        trials.filter(pk__in=list(replays.values_list("trial", flat=True))).update(before=evaluation.trial_id)


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0001_initial"),
        ("evaluations", "0004_trials"),
        ("matrix", "0005_trials"),
    ]

    operations = [migrations.RunPython(copy)]
