"""People, teams and API tokens."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person. Signs in with the user name or the email address, both unique."""

    email = models.EmailField("email address", unique=True)


class Team(models.Model):
    """Who entries belong to. Everyone has a personal team from sign-up on (`personal`)."""

    name = models.CharField(max_length=60)
    slug = models.SlugField(max_length=60, unique=True)
    members = models.ManyToManyField(User, related_name="teams")
    personal = models.BooleanField(default=False)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class TakenName(models.Model):
    """A key of a team's name (`names.keys_of`): a name that has it, too, would be taken for that team's."""

    key = models.CharField(max_length=255, unique=True)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="name_keys")

    def __str__(self) -> str:
        return self.key


class ApiToken(models.Model):
    """A bearer token for scripts. Only its SHA-256 is stored; `prefix` lets its owner recognise it."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=60)
    prefix = models.CharField(max_length=16)
    digest = models.CharField(max_length=64, unique=True)
    created = models.DateTimeField(auto_now_add=True)
    last_used = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created"]

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.name})"
