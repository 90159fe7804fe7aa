from __future__ import annotations

from typing import Any

from django.db import migrations, models


def held(apps: Any, schema_editor: Any) -> None:
    """What workers held is held still, under the word that goes with their lease."""
    apps.get_model("jobs", "Shard").objects.filter(state="claimed").update(state="leased")


class Migration(migrations.Migration):
    dependencies = [("jobs", "0003_quarantine")]

    operations = [
        migrations.RenameField(model_name="shard", old_name="claims", new_name="lease_number"),
        migrations.AlterField(
            model_name="shard",
            name="state",
            field=models.CharField(
                choices=[("queued", "Queued"), ("leased", "Leased"), ("done", "Done")], default="queued", max_length=8
            ),
        ),
        migrations.RunPython(held),
    ]
