"""What a defense asks to have proven, and how a certified board ranks: their TOML tables, validated. Torch-free."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from evaluator.errors import InputError
from evaluator.manifests.strict import FieldError, Real, Strict

CertificateMethod = Literal["smoothing", "ibp", "crown", "bab", "milp", "lipschitz"]
SPEAKS_OF: dict[CertificateMethod, tuple[str, ...]] = {
    "smoothing": ("l2",),
    "ibp": ("linf", "l2", "l1"),
    "crown": ("linf", "l2", "l1"),
    "bab": ("linf", "l2", "l1"),
    "milp": ("linf",),
    "lipschitz": ("linf", "l2", "l1"),
}
ALPHA = 0.001
SAMPLES = 100_000


class CertificateSpec(Strict):
    """A certificate the team asks the platform to compute: a method and that method's own parameters.

    smoothing: sigma (needed), noise, n, alpha. crown, bab, milp: iterations of slope optimisation.
    bab: domains bounded per example; milp: nodes of its search per rival class. No request takes seconds: what a proof finds
    may not depend on the machine.
    """

    method: CertificateMethod
    sigma: Real | None = Field(default=None, gt=0, le=10)
    noise: Literal["gaussian", "ball", "quantized-gaussian"] | None = None
    n: int | None = Field(default=None, ge=100, le=10_000_000)
    alpha: Real | None = Field(default=None, gt=0, le=0.05)
    iterations: int | None = Field(default=None, ge=0, le=1000)
    domains: int | None = Field(default=None, ge=1, le=100_000)
    nodes: int | None = Field(default=None, ge=1, le=100_000)

    @model_validator(mode="after")
    def _parameters(self) -> CertificateSpec:
        takes = {
            "smoothing": {"sigma", "noise", "n", "alpha"},
            "crown": {"iterations"},
            "bab": {"iterations", "domains"},
            "milp": {"iterations", "nodes"},
        }.get(self.method, set())
        given = set(self.parameters())
        if self.method == "smoothing" and self.sigma is None:
            raise ValueError('method "smoothing" needs sigma, the standard deviation of its noise, for example sigma = 0.25')
        if given - takes:
            first = min(given - takes)
            raise FieldError(f'method "{self.method}" does not take {", ".join(sorted(given - takes))}', first)
        if self.n is not None and self.n % 50:
            raise FieldError("must be a multiple of 50", "n")
        return self

    def parameters(self) -> dict[str, float | int | str]:
        """The parameters that were given, as keywords of `evaluator.certify.certify`."""
        return {name: value for name, value in self.model_dump(exclude={"method"}).items() if value is not None}


class ReferenceCurve(Strict):
    """A published curve of certified accuracy, drawn apart and labelled "published, not measured here".

    radii: increasing; accuracy: percent of that work's own test images, one for each radius.
    """

    title: str = Field(min_length=1, max_length=40)
    radii: tuple[Real, ...] = Field(min_length=1, max_length=32)
    accuracy: tuple[Real, ...]
    source: str = ""

    @model_validator(mode="after")
    def _whole(self) -> ReferenceCurve:
        if len(self.accuracy) != len(self.radii) or any(not 0 <= value <= 100 for value in self.accuracy):
            raise FieldError(f"must hold one percentage for each of the {len(self.radii)} radii", "accuracy")
        _increasing(self.radii, "radii")
        return self


class CertifiedSpec(Strict):
    """The table that makes a board a certified one: it ranks by what is proven, at fixed radii.

    radii: increasing, in the threat's norm, the threat's epsilon among them; 0 stands for the label of the image itself.
    alpha: the most chance of a false certificate about one image; samples: the most noisy copies of one image that smoothing
    may ask for. references: published curves to draw beside the entries.
    """

    radii: tuple[Real, ...] = Field(min_length=1, max_length=12)
    alpha: Real = Field(default=ALPHA, gt=0, le=0.05)
    samples: int = Field(default=SAMPLES, ge=100, le=10_000_000)
    references: tuple[ReferenceCurve, ...] = Field(default=(), max_length=4)

    @field_validator("radii")
    @classmethod
    def _ordered(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        _increasing(value)
        return value

    @field_validator("samples")
    @classmethod
    def _blocks(cls, value: int) -> int:
        if value % 50:
            raise ValueError("must be a multiple of 50")
        return value


def _increasing(radii: tuple[float, ...], *at: str) -> None:
    for number, radius in enumerate(radii):
        if radius < 0 or (number and radius <= radii[number - 1]):
            raise FieldError("radii must be at least 0 and increase", *at, number)


def check_request(request: CertificateSpec, *, threat: str, board: CertifiedSpec | None = None) -> CertificateSpec:
    """The request as it will be computed on a challenge: with the board's alpha and samples where it is a certified one.

    threat: the challenge's kind. Raises InputError where the method says nothing about it or asks for more than the board's
    alpha or samples. What only the network can tell (an unknown layer, its size) is checked when it is loaded.
    """
    known = SPEAKS_OF[request.method]
    if threat not in known:
        help_ = f"It certifies {', '.join(known)}; ask for another method or leave [certificate] out."
        what = f'"{request.method}" says nothing about {threat} perturbations.'
        raise InputError(what, where="certificate.method", help=help_)
    if board is None or request.method != "smoothing":
        return request
    if request.alpha is not None and request.alpha > board.alpha:
        what = f"this board certifies at alpha {board.alpha:g} or less, not {request.alpha:g}."
        raise InputError(what, where="certificate.alpha", help="Leave alpha out to get the board's.")
    if request.n is not None and request.n > board.samples:
        what = f"this board spends at most {board.samples:,} samples on an image, not {request.n:,}."
        raise InputError(what, where="certificate.n", help="Leave n out to get the board's.")
    return request.model_copy(update={"alpha": request.alpha or board.alpha, "n": request.n or board.samples})
