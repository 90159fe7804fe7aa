import django.db.models.deletion
from django.db import migrations, models

from arena.jobs.migrations._children import BecomeChild


class Migration(migrations.Migration):
    dependencies = [
        ("evaluations", "0004_trials"),
        ("jobs", "0002_one_table"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="evaluation", name="evaluations_state_1c52a8_idx"),
        *(
            migrations.RemoveField(model_name="evaluation", name=name)
            for name in ("created", "detail", "finished", "public_id", "reason", "seed", "started", "state")
        ),
        migrations.AlterField(
            model_name="evaluation",
            name="trial",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, parent_link=True, related_name="+", to="jobs.trial"
            ),
        ),
        migrations.AlterField(
            model_name="evaluation", name="id", field=models.BigAutoField(primary_key=True, serialize=False)
        ),
        BecomeChild("evaluation"),
        migrations.DeleteModel(name="Shard"),
        # Its rows go along to the app of jobs (jobs 0003).
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.AlterModelTable(name="Quarantine", table="jobs_quarantine")],
            state_operations=[migrations.DeleteModel(name="Quarantine")],
        ),
    ]
