"""JSON of attacks, the matrix and rankings."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from arena.leaderboards.matrix import Column, Square
from arena.matrix.models import Cell, FirstLook


class ViolationSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    count = serializers.IntegerField()
    ids = serializers.ListField(child=serializers.IntegerField(), help_text="Positions in the split of every such example.")
    detail = serializers.CharField()


class CellSerializer(serializers.ModelSerializer[Cell]):
    """One attack against one defense."""

    id = serializers.CharField(source="public_id")
    defense = serializers.CharField(source="defense.public_id")
    defense_name = serializers.CharField(source="defense.name")
    defense_verified = serializers.BooleanField(source="evaluation.verified", allow_null=True)
    accuracy_left = serializers.SerializerMethodField(help_text="Share of examples still right under this attack alone.")
    state = serializers.ChoiceField(choices=Cell.STATES)
    felled = serializers.SerializerMethodField(help_text="Examples that nobody had broken before.")

    class Meta:
        model = Cell
        fields = (
            "id", "defense", "defense_name", "defense_verified", "kind", "state",
            "reason", "detail", "examples", "broken", "accuracy_left",
            "felled", "forward_rows", "backward_rows", "seconds", "verified", "finished",
        )  # fmt: skip

    def get_accuracy_left(self, cell: Cell) -> float | None:
        return None if cell.left is None else cell.left / cell.examples

    def get_felled(self, cell: Cell) -> int:
        return cell.fall.fallen if hasattr(cell, "fall") else 0


class RepeatedSerializer(serializers.Serializer[Any]):
    attack = serializers.CharField(source="public_id", help_text="The earlier entry, which holds the credit.")
    name = serializers.CharField()
    team = serializers.CharField(source="team_name")
    share = serializers.FloatField(help_text="Of the attack's results, in [0, 1].")


class AttackSerializer(serializers.ModelSerializer[FirstLook]):
    """An attack: what the first look found, and its cells."""

    id = serializers.CharField(source="submission.public_id")
    name = serializers.CharField(source="submission.name")
    format = serializers.CharField(source="submission.manifest.format")
    team = serializers.CharField(source="submission.team.slug")
    target = serializers.CharField(source="target.public_id", help_text="The defense that the first look is taken on.")
    verdict = serializers.ChoiceField(choices=FirstLook.Verdict.choices, allow_blank=True)
    violations = ViolationSerializer(many=True)
    cells = serializers.SerializerMethodField()
    repeats = serializers.SerializerMethodField(help_text="The earlier entry of which it repeats most results, or null.")

    class Meta:
        model = FirstLook
        fields = (
            "id", "name", "format", "team", "target", "verdict", "reason", "detail", "violations", "created",
            "finished", "cells", "repeats",
        )  # fmt: skip

    def get_cells(self, look: FirstLook) -> list[dict[str, Any]]:
        return [dict(CellSerializer(cell).data) for cell in self.context["cells"]]

    @extend_schema_field(RepeatedSerializer(allow_null=True))
    def get_repeats(self, look: FirstLook) -> dict[str, Any] | None:
        repeats = self.context["repeats"]
        return None if repeats is None else dict(RepeatedSerializer(repeats).data)


class ColumnSerializer(serializers.Serializer[Column]):
    id = serializers.CharField(source="public_id")
    name = serializers.CharField()
    team = serializers.CharField(source="team_slug")
    format = serializers.CharField()
    entered = serializers.DateTimeField()


class SquareSerializer(serializers.Serializer[Square]):
    id = serializers.CharField(source="cell_id")
    state = serializers.CharField()
    accuracy_left = serializers.FloatField(source="left", allow_null=True)
    broken = serializers.IntegerField(allow_null=True)


class MatrixRowSerializer(serializers.Serializer[Any]):
    defense = serializers.CharField()
    name = serializers.CharField()
    robust_accuracy = serializers.FloatField(allow_null=True)
    verified = serializers.BooleanField(allow_null=True, help_text="Whether the evaluator vouches for the figure.")
    cells = serializers.ListField(
        child=SquareSerializer(allow_null=True), help_text="In the order of `attacks`; null where there is none yet."
    )


class MatrixSerializer(serializers.Serializer[Any]):
    challenge = serializers.CharField()
    attacks = ColumnSerializer(many=True)
    defenses = MatrixRowSerializer(many=True)


class DefenseRankSerializer(serializers.Serializer[Any]):
    rank = serializers.IntegerField()
    best_rank = serializers.IntegerField(allow_null=True, help_text="Best rank not excluded at 95 %, all ranks together.")
    worst_rank = serializers.IntegerField(allow_null=True)
    p_value_next = serializers.FloatField(allow_null=True, help_text="Exact McNemar against the next below, Holm-adjusted.")
    id = serializers.CharField()
    name = serializers.CharField()
    robust_accuracy = serializers.FloatField()
    interval = serializers.ListField(child=serializers.FloatField())


class AttackRankSerializer(serializers.Serializer[Any]):
    rank = serializers.IntegerField(allow_null=True, help_text="Null without a figure, and for a copy of another attack.")
    attack = ColumnSerializer()
    mean = serializers.FloatField(source="play.mean", allow_null=True)
    worst = serializers.FloatField(source="play.worst", allow_null=True)
    played = serializers.IntegerField(source="play.played")
    targets = serializers.IntegerField(source="play.targets")
    optimality = serializers.FloatField(allow_null=True)
    unique_breaks = serializers.IntegerField(source="unique")
    success_per_1000_rows = serializers.FloatField(source="success", allow_null=True)
    falls = serializers.IntegerField(source="caused")
    own_defenses = serializers.IntegerField(
        source="own", help_text="Standing defenses of its own team, which count for nothing."
    )
    repeats = RepeatedSerializer(allow_null=True)
    median_distance = serializers.FloatField(
        allow_null=True, help_text="On minimal-norm boards, where `mean` and `worst` are areas; null if under half are broken."
    )


class RankingsSerializer(serializers.Serializer[Any]):
    defenses = DefenseRankSerializer(many=True)
    attacks = AttackRankSerializer(many=True)
