"""Forms. They say what is asked; the services decide what is right, and `blame` puts their answer next to its field."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

from arena.accounts.models import Team, User
from arena.accounts.queries import teams_of
from arena.web.wording import file_size
from evaluator.errors import RedoubtError


def blame(form: forms.Form, error: RedoubtError, *, otherwise: str | None = None) -> None:
    """Shows `error` at the field that it names; at field `otherwise` (None: above the form) when it names none."""
    if error.where in form.fields:
        form.add_error(error.where, f"{error.what} {error.help}".strip())
    else:
        form.add_error(otherwise, str(error))


class SignUpForm(forms.Form):
    """A new account."""

    username = forms.CharField(
        label="User name",
        max_length=30,
        help_text="3 to 30 letters, digits, dots, dashes or underscores. It is shown on the boards as your team's name.",
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}),
    )
    email = forms.EmailField(label="Email address", widget=forms.EmailInput(attrs={"autocomplete": "email"}))
    password = forms.CharField(
        label="Password",
        max_length=200,
        strip=False,
        help_text="At least 8 characters, and not one that everybody uses.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class LogInForm(forms.Form):
    """Who comes back."""

    identifier = forms.CharField(
        label="User name or email address",
        max_length=254,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}),
    )
    password = forms.CharField(
        label="Password", max_length=200, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )


class TokenForm(forms.Form):
    """A new API token."""

    name = forms.CharField(label="Name of the token", max_length=60, help_text="Where it will be used, as “lab cluster”.")


class TeamForm(forms.Form):
    """A new team."""

    name = forms.CharField(label="Name of the team", max_length=60)


class MemberForm(forms.Form):
    """A new member of a team."""

    username = forms.CharField(
        label="User name", max_length=30, widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false"})
    )


class SubmitForm(forms.Form):
    """A defense or an attack to enter. The team is asked for only when there is a choice."""

    team: forms.ModelChoiceField[Team] = forms.ModelChoiceField(queryset=None, label="Team", empty_label=None)
    archive = forms.FileField(
        label="Archive",
        error_messages={
            "required": "Choose a .zip or .tar.gz archive first.",
            "empty": "The archive is empty: its upload may have been cut off.",
        },
        widget=forms.FileInput(attrs={"accept": ".zip,.tar.gz,.tgz,application/zip,application/gzip"}),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        teams = self.fields["team"]
        assert isinstance(teams, forms.ModelChoiceField)
        teams.queryset = teams_of(user)
        teams.initial = teams.queryset.first()
        size = file_size(settings.REDOUBT_UPLOAD_BYTES)
        self.fields["archive"].help_text = (
            f"Drop a .zip or .tar.gz with defense.toml or attack.toml on the field, or choose it; at most {size}. "
            "The entry's name is the one in that file."
        )
