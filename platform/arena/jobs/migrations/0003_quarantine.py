import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0002_one_table"),
        ("evaluations", "0005_one_table"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Quarantine",
                    fields=[
                        ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                        ("machine", models.CharField(max_length=120)),
                        ("reason", models.TextField()),
                        ("since", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("check_after", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        (
                            "challenge",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="+",
                                to="challenges.challenge",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name_plural": "machines in quarantine",
                        "ordering": ["machine", "pk"],
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("machine", "challenge"), name="one_quarantine_per_machine_and_challenge"
                            ),
                            models.UniqueConstraint(
                                condition=models.Q(("challenge", None)),
                                fields=("machine",),
                                name="one_whole_quarantine_per_machine",
                            ),
                        ],
                    },
                ),
            ],
        ),
    ]
