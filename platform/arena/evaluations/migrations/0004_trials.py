import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("evaluations", "0003_quarantine"),
        ("jobs", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="evaluation",
            name="trial",
            field=models.OneToOneField(
                null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="jobs.trial"
            ),
        ),
    ]
