import django.db.models.deletion
from django.db import migrations, models

from arena.jobs.migrations._children import BecomeChild


class Migration(migrations.Migration):
    dependencies = [
        ("matrix", "0005_trials"),
        ("jobs", "0002_one_table"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="cell", name="matrix_cell_challen_89e5f9_idx"),
        migrations.RemoveIndex(model_name="cell", name="matrix_cell_state_f11aeb_idx"),
        migrations.RemoveIndex(model_name="firstlook", name="matrix_tria_state_44c6a5_idx"),
        *(
            migrations.RemoveField(model_name="cell", name=name)
            for name in (
                "challenge", "created", "detail", "finished", "priority", "public_id", "reason", "seed", "started", "state", "team",
            )
        ),
        *(
            migrations.RemoveField(model_name="firstlook", name=name)
            for name in (
                "state", "not_before", "lease_owner", "lease_until", "claims", "attempts", "progress", "outcome", "log", "seed", "verdict", "reason", "detail", "created", "finished",
            )
        ),
        migrations.AlterField(
            model_name="cell",
            name="trial",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, parent_link=True, related_name="+", to="jobs.trial"
            ),
        ),
        migrations.AlterField(
            model_name="cell", name="id", field=models.BigAutoField(primary_key=True, serialize=False)
        ),
        BecomeChild("cell"),
        migrations.AlterField(
            model_name="firstlook",
            name="trial",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, parent_link=True, related_name="+", to="jobs.trial"
            ),
        ),
        migrations.AlterField(
            model_name="firstlook", name="id", field=models.BigAutoField(primary_key=True, serialize=False)
        ),
        BecomeChild("firstlook"),
        migrations.AddIndex(
            model_name="cell", index=models.Index(fields=["rules_digest", "kind"], name="matrix_cell_rules_d_fe2a17_idx")
        ),
        migrations.DeleteModel(name="CellShard"),
    ]
