"""Changes to people, teams and tokens."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils.text import slugify

from arena.accounts.models import ApiToken, TakenName, Team, User
from arena.accounts.names import RESERVED, keys_of, tidy_name
from arena.accounts.rates import hit
from evaluator.errors import InputError

USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{1,28}[A-Za-z0-9]")


def sign_up(*, username: str, email: str, password: str, address: str) -> User:
    """Makes an account and its personal team. address: the client's, for the rate limit.

    Raises InputError with `where` naming the field, or RateLimited.
    """
    hit(rate="sign-up from one address", key=address)
    email = email.strip().lower()
    check_username(username)
    try:
        validate_email(email)
    except ValidationError as error:
        raise InputError("This is not an email address.", where="email") from error
    user = User(username=username, email=email)
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InputError(" ".join(error.messages), where="password") from error
    if User.objects.filter(email=email).exists():
        raise InputError("There is an account with this email address.", where="email", help="Log in instead.")
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
            make_personal_team(user)
    except IntegrityError as error:  # another request took one of them in between
        raise InputError("This user name or email address is taken.", where="username", help="Choose another one.") from error
    return user


def check_username(username: str) -> None:
    """Raises InputError for a user name that nobody may have, or that would be taken for another's."""
    if not USERNAME.fullmatch(username):
        raise InputError(
            "A user name has 3 to 30 letters, digits, dots, dashes or underscores.",
            where="username",
            help="It starts and ends with a letter or a digit.",
        )
    if User.objects.filter(username__iexact=username).exists() or _taken(username):
        raise InputError("This user name is taken, or looks like one that is.", where="username", help="Choose another one.")


def make_personal_team(user: User) -> None:
    """The team that everyone has. Raises InputError at the user name, which is the team's name too."""
    try:
        make_team(user=user, name=user.username, personal=True)
    except InputError as error:
        raise InputError(error.what, where="username", help=error.help) from error


def check_log_in(*, identifier: str, password: str, address: str) -> User:
    """The person who has this user name or email address and this password.

    Raises InputError (the same for an unknown name and a wrong password) or RateLimited.
    """
    hit(rate="log-in from one address", key=address)
    identifier = identifier.strip().lower()
    found = User.objects.filter(email=identifier) if "@" in identifier else User.objects.filter(username__iexact=identifier)
    username = found.values_list("username", flat=True).first() or identifier
    # By person and address together: tries from elsewhere keep nobody out.
    hit(rate="log-in of one person from one address", key=f"{username} {address}")
    user = authenticate(username=username, password=password)
    if not isinstance(user, User):
        raise InputError("User name and password do not match.", where="password", help="Check both and try again.")
    return user


def make_team(*, user: User, name: str, personal: bool = False) -> Team:
    """Makes a team with `user` as its first member.

    Raises InputError when the name is empty, too long, invisible in part, or would be taken for another team's or person's.
    """
    name = tidy_name(name)
    refusal = InputError("A team has that name, or one that looks like it.", where="name", help="Choose another one.")
    if _taken(name, but=user if personal else None):
        raise refusal
    base = slugify(name)[:50] or "team"  # an address is plain ASCII, a name need not be
    slug = base
    while Team.objects.filter(slug=slug).exists():
        slug = f"{base}-{secrets.token_hex(3)}"
    try:
        with transaction.atomic():
            team = Team.objects.create(name=name, slug=slug, personal=personal)
            TakenName.objects.bulk_create(TakenName(key=key, team=team) for key in sorted(keys_of(name)))
            team.members.add(user)
    except IntegrityError as error:  # another request took the name in between
        raise refusal from error
    return team


def _taken(name: str, *, but: User | None = None) -> bool:
    """Whether a team, or a person without a team of their own (other than `but`), has a name that this one looks like."""
    keys = keys_of(name)
    if TakenName.objects.filter(key__in=keys).exists() or any(keys & keys_of(each) for each in RESERVED):
        return True
    alone = User.objects.exclude(teams__personal=True).exclude(pk=but.pk if but else 0)  # made by an organiser
    return any(keys & keys_of(username) for username in alone.values_list("username", flat=True))


def add_member(*, team: Team, by: User, username: str) -> User:
    """Adds a person to a team that `by` belongs to. Raises InputError."""
    if team.personal:
        raise InputError("A personal team has one member.", where="team", help="Make a team for several people.")
    if not team.members.filter(pk=by.pk).exists():
        raise InputError("Only a member can add members.", where="team")
    user = User.objects.filter(username__iexact=username.strip(), is_active=True).first()
    if user is None:
        raise InputError(f"There is nobody called {username!r}.", where="username", help="Ask for the exact user name.")
    team.members.add(user)
    return user


@dataclass(frozen=True)
class NewToken:
    """A token just made; `secret` is shown this once and stored nowhere."""

    token: ApiToken
    secret: str


def digest_of(secret: str) -> str:
    """What is stored of a token. A plain SHA-256 is enough: the secret has 256 random bits, nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


def make_token(*, user: User, name: str) -> NewToken:
    """Makes an API token. Raises InputError when its name is empty or too long."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= 60:
        raise InputError("A token's name has 1 to 60 characters.", where="name", help="Name it after where it is used.")
    secret = f"redoubt_{secrets.token_urlsafe(32)}"
    token = ApiToken.objects.create(user=user, name=name, prefix=secret[:13], digest=digest_of(secret))
    return NewToken(token=token, secret=secret)


def revoke_token(*, user: User, token_id: int) -> bool:
    """Deletes one of the person's own tokens; False when there is no such token."""
    deleted, _ = ApiToken.objects.filter(pk=token_id, user=user).delete()
    return deleted > 0
