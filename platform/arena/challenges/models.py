"""Published challenges."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.timezone import now

from arena.challenges.phases import Season, season
from evaluator.manifests.spec import Challenge as ChallengeManifest
from evaluator.manifests.spec import Pack


class Challenge(models.Model):
    """A challenge pack as published on this site.

    manifest: the pack's challenge.toml, validated, as JSON. digest: the pack's (any change). rules_digest: of the tables
    that decide a verdict; results measured under other rules do not rank. revision: goes up with every change of the board.
    folder: where the pack was published from ("" when it came without one); gone: since when it is no longer there.
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
    folder = models.TextField(blank=True, editable=False)
    gone = models.DateTimeField(null=True, blank=True, editable=False)

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


class PackProblem(models.Model):
    """Why a pack could not be published when it was tried last. The site keeps the last good version, if there was one.

    folder: the pack's. what: the file, line and field, and what is wrong there. hidden: the challenge is hidden because of it:
    not even what was published earlier can be read by this version.
    """

    slug = models.CharField("pack", max_length=255, unique=True)
    folder = models.TextField()
    what = models.TextField()
    hidden = models.BooleanField(default=False)
    since = models.DateTimeField(default=now)

    class Meta:
        ordering: ClassVar = ["slug"]

    def __str__(self) -> str:
        return self.what
