"""The shapes that the API answers with. Accuracies are shares in [0, 1]; times are ISO 8601 in UTC."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from arena.accounts.models import Team, User
from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from arena.submissions.models import Submission


class ErrorSerializer(serializers.Serializer[Any]):
    what = serializers.CharField(help_text="What happened, one sentence.")
    where = serializers.CharField(help_text="The file, field or step; empty when obvious.", allow_blank=True)
    help = serializers.CharField(help_text="What to do about it.", allow_blank=True)


class TeamSerializer(serializers.ModelSerializer[Team]):
    class Meta:
        model = Team
        fields = ("slug", "name", "personal")


class MeSerializer(serializers.ModelSerializer[User]):
    teams = TeamSerializer(many=True)

    class Meta:
        model = User
        fields = ("username", "teams")


class ChallengeSerializer(serializers.ModelSerializer[Challenge]):
    class Meta:
        model = Challenge
        fields = ("slug", "title", "summary", "manifest", "digest", "created", "revision")


class ChallengeDetailSerializer(serializers.ModelSerializer[Challenge]):
    class Meta:
        model = Challenge
        fields = ("slug", "title", "summary", "manifest", "digest", "created", "revision", "readme")


class ProgressSerializer(serializers.Serializer[Any]):
    stage = serializers.CharField()
    attack = serializers.CharField(allow_blank=True)
    done = serializers.IntegerField()
    total = serializers.IntegerField()
    survivors = serializers.IntegerField()
    seconds_left = serializers.FloatField(allow_null=True)
    shards_done = serializers.IntegerField()
    shards = serializers.IntegerField()


class CertifiedSerializer(serializers.Serializer[Any]):
    """What is proven of one classifier: the entry itself, or its smoothed version, to which the row's accuracies belong."""

    classifier = serializers.ChoiceField(choices=["itself", "smoothed"])
    method = serializers.CharField()
    norm = serializers.CharField()
    radii = serializers.ListField(child=serializers.FloatField())
    accuracies = serializers.ListField(child=serializers.FloatField(), help_text="Shares proven at each of the radii.")
    average_radius = serializers.FloatField()
    undecided = serializers.IntegerField()
    refuted = serializers.IntegerField()
    expected_false = serializers.FloatField(help_text="Bound on the expected number of false certificates.")
    alarm = serializers.CharField(help_text="Why some certificates are void; empty where none is.")


class RowSerializer(serializers.Serializer[Any]):
    rank = serializers.IntegerField(allow_null=True)
    submission_id = serializers.CharField()
    evaluation_id = serializers.CharField()
    name = serializers.CharField()
    format = serializers.CharField()
    extra_data = serializers.BooleanField()
    team_name = serializers.CharField()
    team_slug = serializers.CharField()
    state = serializers.ChoiceField(choices=Evaluation.STATES)
    robust_accuracy = serializers.FloatField(allow_null=True)
    interval_low = serializers.FloatField(allow_null=True)
    interval_high = serializers.FloatField(allow_null=True)
    clean_accuracy = serializers.FloatField(allow_null=True)
    certified_accuracy = serializers.FloatField(allow_null=True)
    mce = serializers.FloatField(allow_null=True, help_text="Mean corruption error; 1 is the standard network.")
    relative_mce = serializers.FloatField(allow_null=True, help_text="Relative mean corruption error.")
    rows = serializers.IntegerField(
        allow_null=True, help_text="What the verdict cost in model rows: an image is one, its gradient two more."
    )
    seconds = serializers.FloatField(allow_null=True)
    examples = serializers.IntegerField()
    entered = serializers.DateTimeField()
    finished = serializers.DateTimeField(allow_null=True)
    reasons = serializers.ListField(child=serializers.CharField(), help_text="Why it does not rank.")
    verified = serializers.BooleanField(allow_null=True, help_text="Whether the evaluator vouches for the figures.")
    progress = ProgressSerializer(allow_null=True)
    queue_position = serializers.IntegerField(allow_null=True)
    certificate = CertifiedSerializer(allow_null=True, help_text="On a certified board: what is proven of this classifier.")


class BoardSerializer(serializers.Serializer[Any]):
    slug = serializers.CharField()
    title = serializers.CharField()
    revision = serializers.IntegerField()
    ranked = RowSerializer(many=True)
    plain = RowSerializer(many=True, help_text="On a certified board: classifiers of which nothing is proven.")
    running = RowSerializer(many=True)
    unverified = RowSerializer(many=True)


class StandardErrorsSerializer(serializers.Serializer[Any]):
    network = serializers.CharField()
    clean_errors = serializers.IntegerField()
    errors = serializers.ListField(child=serializers.ListField(child=serializers.IntegerField()))  # type: ignore[assignment]


class CorruptionsSerializer(serializers.Serializer[Any]):
    """Errors under common corruptions: counts of `examples`, for each kind a list by severity."""

    kinds = serializers.ListField(child=serializers.CharField())
    severities = serializers.ListField(child=serializers.IntegerField())
    examples = serializers.IntegerField()
    clean_errors = serializers.IntegerField()
    errors = serializers.ListField(child=serializers.ListField(child=serializers.IntegerField()))  # type: ignore[assignment]
    standard = StandardErrorsSerializer(allow_null=True, help_text="The standard network on the same images.")
    ratios = serializers.ListField(child=serializers.FloatField(allow_null=True), help_text="CE of each kind.")
    mce = serializers.FloatField(allow_null=True)
    relative_mce = serializers.FloatField(allow_null=True)


class EvaluationSerializer(serializers.ModelSerializer[Evaluation]):
    """An evaluation. The context has `live` (jobs.queries.Live) and `own` (may the asker see its detail)."""

    id = serializers.CharField(source="public_id")
    submission = serializers.CharField(source="submission.public_id")
    state = serializers.ChoiceField(choices=Evaluation.STATES)
    detail = serializers.SerializerMethodField()
    seed = serializers.SerializerMethodField()
    queue_position = serializers.SerializerMethodField()
    progress = serializers.SerializerMethodField()
    corruptions = CorruptionsSerializer(allow_null=True)

    class Meta:
        model = Evaluation
        fields = (
            "id",
            "submission",
            "state",
            "reason",
            "detail",
            "examples",
            "clean_accuracy",
            "robust_accuracy",
            "interval_low",
            "interval_high",
            "certified_accuracy",
            "corruptions",
            "verified",
            "flags",
            "forward_rows",
            "backward_rows",
            "seconds",
            "seed",
            "queue_position",
            "progress",
            "created",
            "started",
            "finished",
        )

    def get_detail(self, evaluation: Evaluation) -> str:
        """Why it failed; for the team that entered it."""
        return evaluation.detail if self.context["own"] else ""

    @extend_schema_field(serializers.CharField(allow_null=True, help_text="A decimal string; secret until it is finished."))
    def get_seed(self, evaluation: Evaluation) -> str | None:
        return str(evaluation.seed) if evaluation.is_finished else None

    @extend_schema_field(serializers.IntegerField(allow_null=True, help_text="1 is next."))
    def get_queue_position(self, evaluation: Evaluation) -> int | None:
        place: int | None = self.context["live"].queue_position
        return place

    @extend_schema_field(ProgressSerializer(allow_null=True))
    def get_progress(self, evaluation: Evaluation) -> dict[str, Any] | None:
        progress = self.context["live"].progress
        return ProgressSerializer(progress).data if progress else None


class SubmissionSerializer(serializers.ModelSerializer[Submission]):
    id = serializers.CharField(source="public_id")
    challenge = serializers.CharField(source="challenge.slug")
    team = serializers.CharField(source="team.slug")
    format = serializers.CharField(source="manifest.format")

    class Meta:
        model = Submission
        fields = ("id", "challenge", "team", "kind", "name", "format", "digest", "size", "created", "withdrawn")


class EntrySerializer(serializers.Serializer[Any]):
    """A submission and the evaluation that stands for it."""

    submission = SubmissionSerializer()
    evaluation = EvaluationSerializer(allow_null=True)


class NewSubmissionSerializer(serializers.Serializer[Any]):
    """A multipart form."""

    challenge = serializers.CharField(help_text="The challenge's slug.")
    team = serializers.CharField(required=False, help_text="A team's slug; your personal team without it.")
    archive = serializers.FileField(help_text="A .zip or .tar.gz with a defense.toml or an attack.toml.")
