"""What is kept of a certificate: packed radii, the join of shards, and the alarm where witnesses refute it. Torch-free."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import scipy

from evaluator.records.report import CertificateRecord, Flag

CHECK = "certificate-refuted"
MOST_WITNESSES = 5  # inputs kept with the receipt; of the others the ids
_LEVEL = 1e-3  # chance that false certificates within the promised rate raise the alarm
_LITTLE = "<f4"


def pack_radii(radii: npt.ArrayLike) -> str:
    """(n,) radii as base64 of little-endian float32, each rounded down, so that nothing is claimed that was not proven."""
    exact = np.asarray(radii, dtype=np.float64)
    rounded = exact.astype(np.float32)
    down = np.where(rounded > exact, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    return base64.b64encode(down.astype(_LITTLE).tobytes()).decode("ascii")


def unpack_radii(packed: str) -> npt.NDArray[np.float32]:
    """The inverse of `pack_radii`."""
    return np.frombuffer(base64.b64decode(packed), dtype=_LITTLE).astype(np.float32)


def accuracies(radius: npt.ArrayLike, radii: Sequence[float]) -> list[float]:
    """Share of all examples with a certified radius of at least r, for each r; a radius below 0 stands for nothing proven.

    Radii are compared as float32, which is how they are kept.
    """
    found = np.asarray(radius, dtype=np.float32)
    down = unpack_radii(pack_radii(list(radii)))
    return [float((found >= r).mean()) if len(found) else 0.0 for r in down]


def average_radius(radius: npt.ArrayLike) -> float:
    """Mean over all examples of the certified radius, 0 where nothing is proven (Zhai et al. 2020, "MACER")."""
    found = np.maximum(np.asarray(radius, dtype=np.float64), 0.0)
    return float(found.mean()) if len(found) else 0.0


@cache
def allowance(examples: int, expected_false: float) -> int:
    """How many of `examples` certificates may be refuted before the method, not chance, is to blame.

    The least k with P(Binomial(examples, expected_false / examples) > k) <= 1e-3; 0 for certificates without a chance of error.
    """
    if examples == 0 or expected_false <= 0:
        return 0
    return int(scipy.stats.binom.isf(_LEVEL, examples, min(1.0, expected_false / examples)))


def alarm(record: CertificateRecord) -> list[Flag]:
    """A flag where verified adversarial inputs lie inside the certified set: grave beyond the binomial allowance."""
    count = len(record.refuted)
    if not count:
        return []
    allowed = allowance(len(record.bits), record.expected_false)
    first = ", ".join(str(number) for number in record.refuted[:5])
    evidence = (
        f"{count} of {count + sum(record.bits)} certified examples have an adversarial input inside the certified set "
        f"(the first: {first}); their certificates are void."
    )
    if count <= allowed:
        evidence += f" Chance alone allows {allowed} (alpha times the examples is {record.expected_false:.3g})."
    return [Flag(check=CHECK, severity="unverified" if count > allowed else "info", evidence=evidence)]


def join(records: Sequence[CertificateRecord]) -> CertificateRecord | None:
    """One certificate over all shards, in data order; None for no records."""
    if not records:
        return None
    bits = [bit for record in records for bit in record.bits]
    clean = [bit for record in records for bit in record.clean_bits]
    empirical = [bit for record in records for bit in record.empirical_bits]
    changed: dict[str, object] = {
        "bits": bits,
        "accuracy": _share(bits),
        "average_radius": sum(r.average_radius * len(r.bits) for r in records) / len(bits) if bits else 0.0,
        "undecided": sum(record.undecided for record in records),
        "refuted": [number for record in records for number in record.refuted],
        "witnesses": [witness for record in records for witness in record.witnesses][:MOST_WITNESSES],
        "clean_bits": clean,
        "clean_accuracy": _share(clean) if clean else None,
        "empirical_bits": empirical,
        "empirical_accuracy": _share(empirical) if empirical else None,
        "expected_false": sum(record.expected_false for record in records),
        "samples": sum(record.samples for record in records),
        "seconds": sum(record.seconds for record in records),
    }
    if all(record.radius for record in records):
        radius = np.concatenate([unpack_radii(record.radius) for record in records])
        changed |= {
            "radius": pack_radii(radius),
            "accuracies": accuracies(radius, records[0].radii),
            "average_radius": average_radius(radius),
        }
    return records[0].model_copy(update=changed)


def _share(bits: Sequence[int]) -> float:
    return sum(bits) / len(bits) if bits else 0.0
