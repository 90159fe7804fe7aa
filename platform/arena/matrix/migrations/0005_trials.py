from typing import Any

import django.db.models.deletion
from django.db import migrations, models


def trial() -> Any:
    return models.OneToOneField(null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="jobs.trial")


class Migration(migrations.Migration):
    dependencies = [
        ("matrix", "0004_database_times"),
        ("jobs", "0001_initial"),
    ]

    operations = [
        migrations.RenameModel(old_name="Trial", new_name="FirstLook"),
        migrations.AlterField(
            model_name="firstlook",
            name="submission",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, related_name="first_look", to="submissions.submission"
            ),
        ),
        migrations.AlterField(
            model_name="firstlook",
            name="target",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="looks_as_target", to="submissions.submission"
            ),
        ),
        migrations.AddField(model_name="firstlook", name="trial", field=trial()),
        migrations.AddField(model_name="cell", name="trial", field=trial()),
    ]
