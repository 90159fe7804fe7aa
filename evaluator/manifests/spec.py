"""What a challenge pack and a submission say about themselves: the TOML manifests, validated.

Torch-free: the web reads this. Unknown keys, wrong types and impossible values are refused with the file, the field
and a line of help; nothing is guessed.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from evaluator.errors import InputError
from evaluator.manifests.board_specs import BaselinesSpec, PublishedSpec, RankingSpec
from evaluator.manifests.certificate_specs import CertificateSpec, CertifiedSpec
from evaluator.manifests.data_specs import DATA, DataSpec
from evaluator.manifests.goal_specs import GoalSpec, UntargetedSpec
from evaluator.manifests.manifest_errors import explain
from evaluator.manifests.phase_specs import PhaseSpec, in_order
from evaluator.manifests.strict import FieldError, Real, Strict, relative_file
from evaluator.manifests.threat_specs import ThreatSpec, threat_kinds
from evaluator.manifests.toml_lines import lines

MANIFEST_BYTES = 64 * 1024
Access = Literal["gradients", "scores", "labels", "none"]

_UNQUOTED = re.compile(r"^[^#\"'\n]*[=,\[]\s*\d+(\.\d+)?\s*/\s*\d", re.MULTILINE)  # epsilon = 8/255


class AccessSpec(Strict):
    """What an attacker may ask the model for, and how often.

    rows_per_example: a forward row costs 1, a backward row 2. The examples of one run share their rows (`sharing` "pooled"),
    or each has its own and a query is charged to the example whose perturbation set holds it ("separate"). outside: whether
    queries that lie in no example's perturbation set are "answered" (and charged to the nearest) or "refused".
    """

    level: Access = "gradients"
    rows_per_example: int = Field(default=20_000, ge=1, le=100_000_000)
    sharing: Literal["pooled", "separate"] = "pooled"
    outside: Literal["answered", "refused"] = "answered"


class EvaluationSpec(Strict):
    """Which ensemble of attacks gives the official verdict.

    "standard" is white-box; "black-box" sees what `[access]` gives, within its queries; "short" is for demonstrations, and
    proves little. corruptions: whether every entry is also asked about the 15 common corruptions in 5 severities, and shows the
    table of its errors. A board of corruptions shows that of its own anyway.
    """

    ensemble: Literal["standard", "short", "black-box"] = "standard"
    corruptions: bool = False
    shard_examples: int = Field(default=500, gt=0, le=10000)


class LimitsSpec(Strict):
    """What a submission's sandbox may use. `required` names limits that must be really enforced, or the run is refused."""

    memory_mb: int = Field(default=2048, ge=256, le=1024 * 1024)
    seconds: int = Field(default=1800, ge=10, le=7 * 24 * 3600)
    reply_seconds: int = Field(default=60, ge=1, le=3600)
    cpus: Real = Field(default=2, gt=0, le=256)
    processes: int = Field(default=64, ge=1, le=4096)
    required: tuple[Literal["memory", "processes", "cpus", "network", "filesystem", "landlock"], ...] = (
        "network",
        "filesystem",
    )

    @property
    def attack_seconds(self) -> int:
        """What an attack may use of a worker's time on all defenses together before it waits behind everybody else."""
        return 8 * self.seconds


class Challenge(Strict):
    """A challenge pack's `challenge.toml`."""

    title: str = Field(min_length=3, max_length=80)
    summary: str = Field(default="", max_length=400)
    data: DataSpec
    threat: ThreatSpec
    goal: GoalSpec = UntargetedSpec()
    access: AccessSpec = AccessSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    limits: LimitsSpec = LimitsSpec()
    ranking: RankingSpec = RankingSpec()
    baselines: BaselinesSpec = BaselinesSpec()
    published: PublishedSpec | None = None
    certified: CertifiedSpec | None = None
    phases: tuple[PhaseSpec, ...] = ()

    @field_validator("phases")
    @classmethod
    def _one_after_the_other(cls, value: tuple[PhaseSpec, ...]) -> tuple[PhaseSpec, ...]:
        return in_order(value)

    @model_validator(mode="after")
    def _possible(self) -> Challenge:
        for problem in (*self.threat.misfits(self.data.image_shape, ("threat",)), *self.goal.misfits(self.data, self.threat)):
            raise problem
        return self

    @model_validator(mode="after")
    def _judged(self) -> Challenge:
        if self.evaluation.ensemble == "short" and not self.threat.norm:
            what = f'"short" needs a threat of kind {_with_norms()}, not "{self.threat.kind}"'
            raise FieldError(what, "evaluation", "ensemble")
        return self

    @model_validator(mode="after")
    def _asked(self) -> Challenge:
        """A black-box ensemble has something to ask, and somebody who asks it."""
        if self.evaluation.ensemble != "black-box":
            return self
        level, labels = self.access.level, self.access.level == "labels"
        if level not in ("scores", "labels"):
            raise FieldError(f'"black-box" needs level "scores" or "labels", not "{level}"', "access", "level")
        if labels and self.access.outside == "refused":
            what = (
                'attacks on labels walk along the boundary, outside the threat: "black-box" needs "answered" at level "labels"'
            )
            raise FieldError(what, "access", "outside")
        if labels and self.threat.kind not in ("linf", "l2"):
            what = f'"black-box" at level "labels" needs a threat of kind linf or l2, not "{self.threat.kind}"'
            raise FieldError(what, "threat", "kind")
        if labels and self.goal.targeted:
            raise FieldError('"black-box" at level "labels" has no attack that reaches a target', "goal", "kind")
        return self

    @model_validator(mode="after")
    def _rankable(self) -> Challenge:
        if self.certified is None:
            return self
        kind, epsilon, radii = self.threat.kind, getattr(self.threat, "epsilon", None), self.certified.radii
        if not self.threat.norm:
            raise FieldError(f'a certified board needs a threat of kind {_with_norms()}, not "{kind}"', "certified")
        if epsilon not in radii:
            raise FieldError(f"must hold the threat's epsilon, {epsilon:g}: by it the board ranks", "certified", "radii")
        largest = self.threat.farthest(self.data.image_shape)
        if radii[-1] > largest:
            what = f"must be at most {largest:g}, the distance of the farthest two images, not {radii[-1]:g}"
            raise FieldError(what, "certified", "radii", len(radii) - 1)
        return self

    @property
    def tabulates(self) -> bool:
        """Its entries show the table of their errors under common corruptions."""
        return self.threat.kind == "corruptions" or self.evaluation.corruptions

    @model_validator(mode="after")
    def _comparable(self) -> Challenge:
        if self.ranking.by != "mce":
            return self
        if not self.tabulates:
            what = '"mce" needs a threat of kind corruptions, or corruptions = true in [evaluation]'
            raise FieldError(what, "ranking", "by")
        if self.data.split != "test":
            raise FieldError('"mce" needs the test split: on it the errors of the standard network are known', "ranking", "by")
        facts = DATA.get(self.data.dataset)
        if facts is None:
            raise FieldError('"mce" needs data whose standard network ships: mnist or cifar10', "ranking", "by")
        if self.data.examples > (most := facts.compared):
            what = f'"mce" needs at most {most:,} examples: on these the errors of the standard network are known'
            raise FieldError(what, "ranking", "by")
        if self.certified is not None:
            raise FieldError('"mce" cannot rank a certified board, which ranks by proof', "ranking", "by")
        return self

    @model_validator(mode="after")
    def _tellable(self) -> Challenge:
        for field, value in (("outside", "refused"), ("sharing", "separate")):
            if getattr(self.access, field) == value and not self.threat.inputs:
                known = ", ".join(kind for kind, each in threat_kinds().items() if each.inputs)
                what = f'"{value}" needs a threat whose points are inputs ({known}), not "{self.threat.kind}"'
                raise FieldError(what, "access", field)
        return self


def _with_norms() -> str:
    """The kinds of threat about which certificates and dense climbs speak, as "linf, l2 or l1"."""
    *most, last = (kind for kind, each in threat_kinds().items() if each.norm)
    return f"{', '.join(most)} or {last}"


class DefenseManifest(Strict):
    """A defense's `defense.toml`."""

    name: str = Field(min_length=1, max_length=80)
    format: Literal["python", "safetensors", "onnx"]
    entry: str | None = None
    architecture: str | None = None
    weights: str | None = None
    randomized: bool = False
    votes: int = Field(default=1, ge=1, le=1024)
    bpda: str | None = None
    detector: bool = False
    extra_data: bool = False
    certificate: CertificateSpec | None = None

    @field_validator("entry", "weights", "bpda")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        return None if value is None else relative_file(value)

    @model_validator(mode="after")
    def _complete(self) -> DefenseManifest:
        needs = {"python": ["entry"], "safetensors": ["architecture", "weights"], "onnx": ["weights"]}[self.format]
        missing = [name for name in needs if getattr(self, name) is None]
        if missing:
            raise FieldError(f'"{self.format}" needs {" and ".join(missing)}', "format")
        if self.detector and self.format != "python":
            raise FieldError(f'needs format "python": a "{self.format}" submission has no column for its score', "detector")
        if self.detector and self.randomized:
            raise FieldError("cannot be judged together with randomized = true: fix the detector's randomness", "detector")
        if self.detector and self.certificate is not None:
            raise FieldError("cannot be certified: a certificate speaks of a classifier that answers always", "detector")
        if self.certificate is not None and self.certificate.method != "smoothing" and self.format != "safetensors":
            what = f'"{self.certificate.method}" reads the network\'s layers: it needs format "safetensors"'
            raise FieldError(what, "certificate", "method")
        return self


class AttackManifest(Strict):
    """An attack's `attack.toml`."""

    name: str = Field(min_length=1, max_length=80)
    format: Literal["python", "array"]
    entry: str | None = None
    target: str | None = None
    array: str | None = None

    @field_validator("entry", "array")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        return None if value is None else relative_file(value)

    @model_validator(mode="after")
    def _complete(self) -> AttackManifest:
        needs = {"python": ["entry"], "array": ["target", "array"]}[self.format]
        missing = [name for name in needs if getattr(self, name) is None]
        if missing:
            raise FieldError(f'"{self.format}" needs {" and ".join(missing)}', "format")
        return self


class Pack(Strict):
    """A challenge pack: its slug, its folder (None when it came over the network) and its validated manifest."""

    slug: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)
    folder: Path | None
    challenge: Challenge
    digest: str


M = TypeVar("M", bound=BaseModel)


def parse_toml(data: bytes, model: type[M], *, where: str) -> M:
    """Parses and validates one manifest.

    data: the file's bytes (at most 64 KiB of UTF-8 TOML, with or without a byte order mark). where: the file name for messages.
    Raises InputError naming the line, the field and the nearest known one.
    """
    if len(data) > MANIFEST_BYTES:
        raise InputError(f"is {len(data)} bytes long; a manifest has at most {MANIFEST_BYTES}.", where=where)
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"line {line}: is not UTF-8 text.", where=where, help="Save it as UTF-8.") from error
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        help = (
            'Write a fraction in quotes, such as "8/255".' if _UNQUOTED.search(text) else "See https://toml.io for the format."
        )
        raise InputError(f"is not valid TOML: {error}.", where=where, help=help) from error
    try:
        return model.model_validate(_with_tuples(table), strict=True)
    except ValidationError as error:
        raise explain(error, model, where=where, lines=lines(text)) from error


def _with_tuples(value: Any) -> Any:
    """TOML's lists as tuples: strict validation takes nothing for anything else, and our tables are frozen."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(_with_tuples(item) for item in value) if isinstance(value, list) else value


def load_manifest(path: Path, model: type[M], *, where: str = "") -> M:
    """Reads and validates the manifest at `path`. where: the file name for messages, instead of the last part of its path.

    Raises InputError when it is missing, cannot be read or is wrong.
    """
    try:
        if not path.is_file():
            help = "Every submission and pack starts with its manifest."
            raise InputError("there is no such file.", where=str(path), help=help)
        with path.open("rb") as stream:
            data = stream.read(MANIFEST_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", where=str(path)) from error
    return parse_toml(data, model, where=where or path.name)
