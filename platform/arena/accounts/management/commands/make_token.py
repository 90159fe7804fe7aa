"""`manage.py make_token USERNAME`: an API token, printed once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from arena.accounts.models import User
from arena.accounts.services import make_token


class Command(BaseCommand):
    help = "Makes an API token for a person and prints it; it cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="made on the server")

    def handle(self, *args: Any, username: str, name: str, **options: Any) -> None:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is nobody called {username!r}.")
        self.stdout.write(make_token(user=user, name=name).secret)
