"""What teams hand in."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from arena.identifiers import new_public_id


def archive_path(submission: Submission, filename: str) -> str:
    """Where an archive is stored: named by its public id, never by what the uploader called it."""
    suffix = next((known for known in (".zip", ".tar.bz2", ".tar.xz", ".tar") if filename.endswith(known)), ".tar.gz")
    return f"submissions/{submission.public_id}{suffix}"


class Submission(models.Model):
    """One entry of a team in a challenge: an archive that passed the intake.

    manifest: its defense.toml, validated, as JSON. digest: SHA-256 of the archive. contents: of the unpacked files
    (`intake.inspection`), "" for entries from before it was kept. size: of the archive, bytes.
    """

    class Kind(models.TextChoices):
        DEFENSE = "defense"
        ATTACK = "attack"

    public_id = models.CharField(max_length=26, unique=True, default=new_public_id, editable=False)
    challenge = models.ForeignKey("challenges.Challenge", on_delete=models.PROTECT, related_name="submissions")
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="submissions")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="submissions")
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.DEFENSE)
    name = models.CharField(max_length=80)
    manifest = models.JSONField()
    digest = models.CharField(max_length=64, db_index=True)
    contents = models.CharField(max_length=64, db_index=True, default="", blank=True, editable=False)
    archive = models.FileField(upload_to=archive_path)
    size = models.PositiveBigIntegerField()
    created = models.DateTimeField(auto_now_add=True)
    withdrawn = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-public_id"]
        indexes: ClassVar = [models.Index(fields=["challenge", "kind"]), models.Index(fields=["team", "challenge", "created"])]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"
