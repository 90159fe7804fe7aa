"""For migrations: the tables of what judges found became children of the table of trials."""

from __future__ import annotations

from typing import Any

from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


class BecomeChild(Operation):
    """From here on the model inherits from Trial, to which its field `trial` leads already. Changes no table."""

    reversible = False

    def __init__(self, name: str) -> None:
        self.name = name

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        state.models[app_label, self.name.lower()].bases = ("jobs.trial",)
        state.reload_model(app_label, self.name.lower())

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        pass

    def describe(self) -> str:
        return f"Make {self.name} a kind of trial"
