"""Keeping adversarial inputs: only those that add something, each file once."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable

import numpy as np
from django.core.files.base import ContentFile
from django.db import transaction
from numpy.typing import NDArray

from arena.matrix.models import Archive, Cell
from arena.rankings.bits import Bits, unpack
from arena.rankings.optimality import Distances, gained
from evaluator.records.adversarial_archive import HALVES, POINTS, STEPS, AdversarialArchive, join_archives

PICTURES = 8  # on the page of a cell


def only(archive: AdversarialArchive, wanted: NDArray[np.bool_]) -> AdversarialArchive:
    """The inputs at `wanted`, (m,) bool."""
    of = {kind: wanted[archive.form == kind] for kind in (STEPS, HALVES, POINTS)}
    return AdversarialArchive(
        ids=archive.ids[wanted],
        form=archive.form[wanted],
        scale=archive.scale[of[STEPS]],
        steps=archive.steps[of[STEPS]],
        halves=archive.halves[of[HALVES]],
        points=archive.points[of[POINTS]],
    )


def of_examples(data: bytes, examples: Bits) -> AdversarialArchive:
    """The stored inputs of those examples. examples: (n,) bool over the ranked examples, the first n of the split."""
    archive = AdversarialArchive.from_bytes(data)
    return only(archive, examples[archive.ids])


def examples_of(data: bytes, examples: int) -> Bits:
    """(n,) bool: which of the ranked examples have a stored input."""
    held = np.zeros(examples, dtype=bool)
    held[AdversarialArchive.from_bytes(data).ids] = True
    return held


def shown(archive: AdversarialArchive) -> list[int]:
    """The examples whose inputs a cell's page shows: the first in data order."""
    return sorted(archive.ids.tolist())[:PICTURES]


def keep(archive: AdversarialArchive) -> Archive | None:
    """Stores the inputs once; None when there are none."""
    return keep_bytes(archive.to_bytes()) if len(archive) else None


def keep_bytes(data: bytes) -> Archive:
    """The same of an archive that is bytes already."""
    digest = hashlib.sha256(data).hexdigest()
    found = Archive.objects.filter(digest=digest).first()
    if found is None:
        found = Archive(digest=digest, size=len(data), inputs=len(AdversarialArchive.from_bytes(data)))
        found.file.save("inputs.npz", ContentFile(data), save=False)
        found.save()
    return found


def drop_unused(archive: Archive) -> None:
    """Deletes an archive that nothing keeps and no cell waits to replay; the file goes once the transaction is committed."""
    with transaction.atomic():
        if any(users.exists() for users in (archive.cells, archive.results_of, archive.replays, archive.survivals)):
            return
        name, storage = str(archive.file.name), archive.file.storage
        archive.delete()
        transaction.on_commit(lambda: storage.delete(name), robust=True)


def read(archive: Archive) -> bytes:
    """The stored bytes."""
    with archive.file.open("rb") as stream:
        content: bytes = stream.read()
    return content


def one_each(archives: Iterable[bytes]) -> bytes | None:
    """One input for each example, of the first archive that has one; None when there is none at all."""
    parts, seen = [], np.zeros(0, dtype=np.int64)
    for data in archives:
        archive = AdversarialArchive.from_bytes(data)
        fresh = ~np.isin(archive.ids, seen)
        if fresh.any():
            parts.append(only(archive, fresh).to_bytes())
            seen = np.concatenate([seen, archive.ids[fresh]])
    return join_archives(parts) if parts else None


def pack_distances(distances: Iterable[float | None]) -> bytes:
    """The distances of broken examples in data order, float32, zlib."""
    return zlib.compress(np.array([value for value in distances if value is not None], dtype="<f4").tobytes())


def pack_envelope(best: NDArray[np.float64]) -> bytes:
    """(n,) distances with inf, float32, zlib."""
    return zlib.compress(best.astype("<f4").tobytes())


def unpack_envelope(packed: bytes | memoryview[int] | None, examples: int) -> NDArray[np.float64]:
    """What `pack_envelope` packed; inf everywhere for None."""
    if packed is None:
        return np.full(examples, np.inf)
    return np.frombuffer(zlib.decompress(bytes(packed)), dtype="<f4").astype(np.float64)


def unpack_distances(packed: bytes, breaks: Bits) -> NDArray[np.float64]:
    """(n,) distances, inf for unbroken examples."""
    spread = np.full(len(breaks), np.inf)
    spread[breaks] = np.frombuffer(zlib.decompress(packed), dtype="<f4")
    return spread


def distances_of(cell: Cell, *, own: bool = False) -> Distances:
    """(n,) distances of what a cell broke, inf elsewhere. own: without what it copied from others' earlier entries."""
    if cell.breaks is None or cell.distances is None:
        return np.full(cell.examples, np.inf)
    breaks = bytes(cell.breaks)
    found = unpack_distances(bytes(cell.distances), unpack(breaks, cell.examples))
    if own and cell.copied is not None:
        found[unpack(bytes(cell.copied), cell.examples)] = np.inf
    return found


def gain_of(cell: Cell, epsilon: float | None) -> float | None:
    """The area that a cell's own results take from the robustness curve (`arena.rankings.optimality.gained`)."""
    return gained(distances_of(cell, own=True), epsilon)
