"""People and teams in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.http import HttpRequest

from arena.accounts.models import Team, User
from arena.accounts.services import check_username, make_personal_team
from evaluator.errors import InputError

if TYPE_CHECKING:  # the classes take no parameter at run time
    TeamAdminBase = admin.ModelAdmin[Team]
    PersonAdminBase = UserAdmin[User]
    NewPersonBase = AdminUserCreationForm[User]
else:
    TeamAdminBase, PersonAdminBase, NewPersonBase = admin.ModelAdmin, UserAdmin, AdminUserCreationForm


class NewPersonForm(NewPersonBase):
    """A new account, under the rules of signing up."""

    class Meta:
        model = User
        fields = ("username", "email")

    def clean_username(self) -> str:
        username: str = self.cleaned_data["username"]
        try:
            check_username(username)
        except InputError as error:
            raise forms.ValidationError(f"{error.what} {error.help}") from error
        return username


@admin.register(User)
class PersonAdmin(PersonAdminBase):
    add_form = NewPersonForm
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("username", "email", "usable_password", "password1", "password2")}),
    )

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            make_personal_team(obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A user name stays: it is the personal team's name, by which entries are known."""
        return ("username",) if obj is not None else ()


@admin.register(Team)
class TeamAdmin(TeamAdminBase):
    """Who belongs to which team. A name stays as it was checked when the team was made."""

    list_display = ("name", "slug", "personal", "created")
    search_fields = ("name", "slug")
    filter_horizontal = ("members",)
    readonly_fields = ("name", "slug", "personal")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
