"""Published challenges."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.timezone import now

from arena.challenges.phases import Season, season
from evaluator.spec import Challenge as ChallengeManifest
from evaluator.spec import Pack


class Challenge(models.Model):
    """A challenge pack as published on this site.

    manifest: the pack's challenge.toml, validated, as JSON. digest: the pack's (any change). rules_digest: of the tables
    that decide a verdict; results measured under other rules do not rank. revision: goes up with every change of the board.
    """

    slug = models.SlugField(max_length=60, unique=True)
    title = models.CharField(max_length=80)
    summary = models.CharField(max_length=400, blank=True)
    manifest = models.JSONField()
    readme = models.TextField(blank=True)
    digest = models.CharField(max_length=64)
    rules_digest = models.CharField(max_length=64)
    published = models.BooleanField(default=True)
    created = models.DateTimeField(auto_now_add=True)
    revision = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["title"]

    def __str__(self) -> str:
        return self.title

    @property
    def spec(self) -> ChallengeManifest:
        """The validated manifest."""
        return ChallengeManifest.model_validate(self.manifest)

    @property
    def season(self) -> Season:
        """Where it stands in its phases now."""
        return season(self.spec.phases, now())

    @property
    def pack(self) -> Pack:
        """What the evaluator needs to judge an entry of this challenge."""
        return Pack(slug=self.slug, folder=None, challenge=self.spec, digest=self.digest)
