import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import arena.identifiers
import arena.jobs.clock
import arena.jobs.models

STATES = [
    ("queued", "Queued"),
    ("running", "Running"),
    ("completed", "Completed"),
    ("submission_failed", "Submission Failed"),
    ("attack_failed", "Attack Failed"),
    ("defense_failed", "Defense Failed"),
    ("platform_failed", "Platform Failed"),
    ("cancelled", "Cancelled"),
]


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0001_initial"),
        ("challenges", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Trial",
            fields=[
                ("key", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "public_id",
                    models.CharField(default=arena.identifiers.new_public_id, editable=False, max_length=26, unique=True),
                ),
                ("judge", models.CharField(max_length=16)),
                ("priority", models.IntegerField(default=0)),
                ("seed", models.BigIntegerField(default=arena.jobs.models.new_seed)),
                ("state", models.CharField(choices=STATES, default="queued", max_length=20)),
                ("reason", models.CharField(blank=True, max_length=40)),
                ("detail", models.TextField(blank=True)),
                ("created", models.DateTimeField(default=arena.jobs.clock.now)),
                ("started", models.DateTimeField(blank=True, null=True)),
                ("finished", models.DateTimeField(blank=True, null=True)),
                (
                    "before",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="jobs.trial",
                    ),
                ),
                (
                    "challenge",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="trials", to="challenges.challenge"
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="trials", to="accounts.team"),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["state", "created"], name="jobs_trial_state_3ad1cf_idx"),
                    models.Index(fields=["judge", "state", "priority"], name="jobs_trial_judge_7c5d5d_idx"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Shard",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("index", models.PositiveIntegerField()),
                ("start", models.PositiveIntegerField()),
                ("stop", models.PositiveIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[("queued", "Queued"), ("claimed", "Claimed"), ("done", "Done")],
                        default="queued",
                        max_length=8,
                    ),
                ),
                ("not_before", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("lease_owner", models.CharField(blank=True, max_length=120)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("claims", models.PositiveIntegerField(default=0)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("progress", models.JSONField(blank=True, null=True)),
                ("outcome", models.JSONField(blank=True, null=True)),
                ("inputs", models.BinaryField(blank=True, null=True)),
                ("log", models.TextField(blank=True)),
                ("seconds", models.FloatField(blank=True, null=True)),
                ("finished", models.DateTimeField(blank=True, null=True)),
                (
                    "trial",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="shards", to="jobs.trial"),
                ),
            ],
            options={
                "ordering": ["trial", "index"],
                "indexes": [
                    models.Index(fields=["state", "not_before"], name="jobs_shard_state_75e153_idx"),
                    models.Index(fields=["state", "lease_until"], name="jobs_shard_state_0ccded_idx"),
                    models.Index(fields=["finished"], name="jobs_shard_finishe_b32ef9_idx"),
                ],
                "constraints": [models.UniqueConstraint(fields=("trial", "index"), name="one_shard_per_trial_and_index")],
            },
        ),
    ]
