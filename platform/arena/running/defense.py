"""The one place where evaluator and sandbox meet: runs the official evaluation of one submission.

Knows no Django, so that `redoubt evaluate` and the site's worker run the very same code. Web code never imports it.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

import evaluator
from arena.running.lanes import Lane, choose, once_more, settled_threads, unless
from arena.running.merging import merge
from arena.running.outcomes import platform_failed
from arena.running.staging import Staged, staged
from evaluator.adaptive.votes import Votes
from evaluator.attacks.base import Batch, Model
from evaluator.checks import Honest
from evaluator.data import Examples
from evaluator.data import examples as ranked_examples
from evaluator.data.tensors import unranked
from evaluator.draws import Draws
from evaluator.ensembles import SHORT, Ensemble, standard
from evaluator.errors import Cancelled, InputError, SubmissionError
from evaluator.host.load import load_weights_only, read_manifest
from evaluator.judging.certification import Certified, Searched, certified, require
from evaluator.judging.evaluation import Verdict, evaluate
from evaluator.manifests.architecture_shapes import check_images
from evaluator.manifests.certificate_specs import CertificateSpec, CertifiedSpec
from evaluator.manifests.data_specs import DataSpec
from evaluator.manifests.spec import DefenseManifest, Pack
from evaluator.models.meter import Meter, MeteredModel
from evaluator.records.identity import JUDGING, source_digest
from evaluator.records.intervals import clopper_pearson
from evaluator.records.report import (
    Completed,
    Digests,
    Environment,
    Outcome,
    Progress,
    Report,
    SubmissionFailed,
    SubmissionReason,
)
from evaluator.threats import Threat, build
from sandbox import Sandbox
from sandbox.base import Enforcement

__all__ = ["Request", "merge", "run_defense"]


CONTROLS = 48  # images that do not rank, for the checks


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    submission: an unpacked folder with its manifest. shard: (start, stop) positions among the pack's ranked examples,
    None for all. seed: keys all of the evaluation's randomness; the same seed gives the same verdicts bit for bit.
    examples: rank only on the first so many. lane: "auto" runs weights-only submissions in-process and code in a host.
    ensemble: None for the challenge's own. keep: whether the outcome holds what broke the defense, to be replayed on others.
    device: where an in-process model runs, "cpu" or "cuda".
    """

    pack: Pack
    submission: Path
    seed: int
    shard: tuple[int, int] | None = None
    examples: int | None = None
    lane: Literal["auto", "in-process", "host"] = "auto"
    ensemble: Ensemble | None = None
    keep: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class Listener:
    """Whom to tell, and whether to go on."""

    on_progress: Callable[[Progress], None]
    on_log: Callable[[bytes], None]
    cancelled: Callable[[], bool]


def run_defense(
    request: Request,
    *,
    sandbox: Sandbox,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_log: Callable[[bytes], None] = lambda text: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Runs the evaluation of a defense (or one shard of it) and returns a typed outcome; raises only Cancelled.

    on_progress: called several times a second with the current Progress. on_log: the submission's own output so far
    (bounded, untrusted bytes). cancelled: polled within passes too. The report is unsigned (`evaluator.records.receipt.sign`).
    """
    try:
        with staged(request.submission) as copy:
            return once_more(lambda: _run(request, copy, sandbox, Listener(on_progress, on_log, cancelled)))
    except Cancelled:
        raise
    except SubmissionError as error:
        return SubmissionFailed(error.reason, str(error))
    except Exception as error:
        return platform_failed(error, f"the evaluation of {request.submission}")


def _run(request: Request, copy: Staged, sandbox: Sandbox, listener: Listener) -> Outcome:
    challenge = request.pack.challenge
    data = challenge.data
    if request.examples is not None:
        data = data.model_copy(update={"examples": min(request.examples, data.examples)})
    everything = ranked_examples(data)
    start, stop = request.shard or (0, len(everything))
    size = challenge.evaluation.shard_examples
    pieces = [(first, min(first + size, stop)) for first in range(start, stop, size)]
    manifest = read_manifest(copy.folder)
    _fits(manifest, everything)
    threads = settled_threads(challenge.limits)
    lane = Lane(
        choose(request.lane, manifest),
        copy.folder,
        manifest,
        challenge.limits,
        sandbox,
        threads,
        listener.on_log,
        request.device,
        listener.cancelled,
    )
    threat, asked = build(challenge.threat), manifest.certificate
    if asked is not None:
        _require(asked, threat, copy, manifest, everything, challenge.certified)
    done: list[Completed] = []
    for first, last in pieces:
        part = everything[first:last]
        verdict = evaluate(
            lambda: lane.open(part.classes),  # noqa: B023 (called only within this round)
            part,
            threat,
            Honest(
                request.ensemble or (SHORT if challenge.evaluation.ensemble == "short" else standard(threat)),
                randomized=manifest.randomized,
                votes=Votes(manifest.votes),
                bpda=manifest.bpda is not None,
                controls=_controls(challenge.data, request.seed),
            ),
            seed=request.seed,
            votes=Votes(manifest.votes) if manifest.randomized else None,
            rejects=manifest.detector,
            keep=request.keep,
            on_progress=_shifted(listener.on_progress, first - start, stop - start, done),
            cancelled=listener.cancelled,
        )
        proof = None
        if asked is not None:
            with _told_to_the_team():
                searched = Searched(verdict.correct, verdict.robust, verdict.points)
                opened = _certifiable(asked, lane, copy, part.classes, unless(listener.cancelled))
                proof = certified(opened, part, searched, threat, asked, request.seed, challenge.certified)
        found = b"" if verdict.adversarial is None else verdict.adversarial.to_bytes()
        done.append(Completed(_report(request, copy, lane, verdict, part, proof), found))
    return merge(list(done))


def _certifiable(
    asked: CertificateSpec, lane: Lane, copy: Staged, classes: int, tick: Callable[[], None]
) -> Callable[[], AbstractContextManager[Model]]:
    """Opens what a certificate is computed of: smoothing asks the model, all other methods read the network's layers."""
    if asked.method != "smoothing":
        return lambda: nullcontext(load_weights_only(copy.folder, lane.manifest))

    @contextmanager
    def opened() -> Iterator[Model]:
        with lane.open(classes) as model:
            yield MeteredModel(model, Meter(), classes=classes, tick=tick).eval()

    return opened


def _fits(manifest: DefenseManifest, data: Examples) -> None:
    """A network for other images fails the submission before anything is computed."""
    if manifest.format == "safetensors":
        with _told_to_the_team():
            check_images(str(manifest.architecture), tuple(data.x.shape[1:]), data.classes)


def _controls(data: DataSpec, seed: int) -> Batch | None:
    """Images that do not rank, with which the checks compare those that do."""
    others = unranked(data, CONTROLS, seed)
    return None if others is None else Batch(others.x, others.y, Draws(seed, others.ids).fork("controls"))


def _require(
    asked: CertificateSpec,
    threat: Threat,
    copy: Staged,
    manifest: DefenseManifest,
    data: Examples,
    board: CertifiedSpec | None,
) -> None:
    """A certificate that cannot be had fails the submission before anything is computed."""
    with _told_to_the_team():
        network = load_weights_only(copy.folder, manifest) if manifest.format == "safetensors" else None
        require(asked, threat, network, tuple(data.x.shape[1:]), board)


@contextmanager
def _told_to_the_team() -> Iterator[None]:
    """What stands in the way of a network or its certificate is the team's to mend, not the platform's."""
    try:
        yield
    except InputError as error:
        where = f"defense.toml, {error.where or 'certificate'}"
        raise SubmissionError(SubmissionReason.MANIFEST, error.what, where=where, help=error.help) from error


def _shifted(
    on_progress: Callable[[Progress], None], before: int, total: int, done: list[Completed]
) -> Callable[[Progress], None]:
    """Progress of one piece as progress of the whole run."""
    reports = [outcome.report for outcome in done]
    survivors = sum(sum(report.robust_bits) for report in reports)
    forward, backward = sum(r.forward_rows for r in reports), sum(r.backward_rows for r in reports)
    seconds = sum(report.seconds for report in reports)

    def tell(piece: Progress) -> None:
        settled, spent = before + piece.done, seconds + piece.seconds
        pending = total - before - piece.total
        on_progress(
            replace(
                piece,
                done=settled,
                total=total,
                survivors=survivors + piece.survivors + pending,
                forward_rows=forward + piece.forward_rows,
                backward_rows=backward + piece.backward_rows,
                seconds=spent,
                seconds_left=spent / settled * (total - settled) if settled else None,
            )
        )

    return tell


def _report(request: Request, copy: Staged, lane: Lane, verdict: Verdict, part: Examples, proof: Certified | None) -> Report:
    """One piece's report."""
    flags = [*verdict.flags, *([] if proof is None else proof.flags)]
    own = proof if proof is not None and proof.record.classifier == "itself" else None
    count, robust = len(part), int(verdict.robust.sum())
    capabilities = lane.sandbox.capabilities() if lane.name == "host" else None
    enforced = [] if capabilities is None else [k for k, v in capabilities.promises.items() if v is Enforcement.FULL]
    return Report(
        challenge=request.pack.slug,
        submission=lane.manifest.name,
        examples=count,
        ids=part.ids.tolist(),
        clean_accuracy=float(verdict.correct.double().mean()),
        robust_accuracy=robust / count,
        robust_interval=clopper_pearson(robust, count),
        certified_accuracy=None if own is None else own.record.accuracy,
        correct_bits=verdict.correct.int().tolist(),
        robust_bits=verdict.robust.int().tolist(),
        certified_bits=[0] * count if own is None else own.record.bits,
        broken_by=verdict.broken_by.tolist(),
        attacks=verdict.attacks,
        flags=flags,
        checks=verdict.checks,
        certificate=None if proof is None else proof.record,
        verified=not any(flag.severity == "unverified" for flag in flags),
        seed=request.seed,
        forward_rows=verdict.forward_rows,
        backward_rows=verdict.backward_rows,
        seconds=verdict.seconds,
        digests=Digests(submission=copy.digest, pack=request.pack.digest, data=part.digest),
        environment=Environment(
            evaluator=evaluator.__version__,
            source=source_digest(),
            judging=JUDGING,
            torch=torch.__version__,
            python=platform.python_version(),
            device=lane.device if lane.name == "in-process" else "cpu",
            threads=lane.threads,
            lane=lane.name,
            sandbox="none" if capabilities is None else capabilities.backend,
            enforced=enforced,
        ),
    )
