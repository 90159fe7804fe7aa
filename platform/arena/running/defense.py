"""The official evaluation of one defense, or of one shard of it: what `redoubt evaluate` and the site's workers run.

The folder is staged, its lane chosen (`bench`), each piece searched and verified, its certificate computed and attacked; the
pieces' reports become one (`merge`). Web code never imports this.
"""

from __future__ import annotations

from arena.running.bench import Bench, bench, blaming_the_manifest
from arena.running.environments import environment
from arena.running.lanes import once_more
from arena.running.listening import SILENT, Listener, in_pieces
from arena.running.merging import merge
from arena.running.outcomes import platform_failed
from arena.running.requests import Request
from evaluator.attacks.base import Batch
from evaluator.checks import Honest
from evaluator.data import Examples
from evaluator.data.tensors import unranked
from evaluator.draws import Draws
from evaluator.ensembles.black_box import BlackBox
from evaluator.errors import Cancelled, SubmissionError
from evaluator.judging.certification import Certified, Searched, certified
from evaluator.judging.corruption_table import tabulated
from evaluator.judging.evaluation import Verdict
from evaluator.records.intervals import clopper_pearson
from evaluator.records.report import Completed, CorruptionRecord, Digests, Outcome, Report, SubmissionFailed
from evaluator.threats import Corruptions
from sandbox import Sandbox

__all__ = ["Request", "merge", "run_defense"]


CONTROLS = 48  # images that do not rank, for the checks


def run_defense(request: Request, *, sandbox: Sandbox, listener: Listener = SILENT) -> Outcome:
    """Runs the evaluation of a defense (or one shard of it) and returns a typed outcome; raises only Cancelled.

    The report is unsigned (`evaluator.records.receipt.sign`).
    """
    try:
        return once_more(lambda: _run(request, sandbox, listener))
    except Cancelled:
        raise
    except SubmissionError as error:
        return SubmissionFailed(error.reason, str(error))
    except Exception as error:
        return platform_failed(error, f"the evaluation of {request.submission}")


def _run(request: Request, sandbox: Sandbox, listener: Listener) -> Outcome:
    with bench(
        request.pack,
        request.submission,
        sandbox=sandbox,
        listener=listener,
        examples=request.examples,
        lane=request.lane,
        seed=request.seed,
        device=request.device,
    ) as ready:
        if ready.manifest.certificate is not None:
            with blaming_the_manifest():
                ready.require(ready.manifest.certificate, request.pack.challenge.certified)
        start, stop = request.shard or (0, len(ready.examples))

        def piece(first: int, last: int, heard: Listener) -> Completed:
            return _piece(request, ready, ready.examples[start + first : start + last], heard)

        return merge(in_pieces(stop - start, request.pack.challenge.evaluation.shard_examples, listener, piece))


def _piece(request: Request, ready: Bench, part: Examples, listener: Listener) -> Completed:
    """Searches and certifies one piece."""
    challenge, manifest = request.pack.challenge, ready.manifest
    search = request.ensemble or ready.goal.search(challenge, ready.threat)
    if not isinstance(search, BlackBox):  # who asks a black box cares for no gradient, and may not ask what the checks ask
        search = Honest(search, bpda=manifest.bpda is not None, controls=_controls(request), alone=not ready.goal.universal)
    table = _corruptions(request, ready)
    verdict = ready.search(part, search, seed=request.seed, keep=request.keep, corruptions=table, listener=listener)
    proof = None
    if manifest.certificate is not None:
        asked, searched = manifest.certificate, Searched(verdict.correct, verdict.robust, verdict.points)
        with blaming_the_manifest():
            proof = certified(
                lambda: ready.certifiable(asked, part), part, searched, ready.threat, asked, request.seed, challenge.certified
            )
    found = b"" if verdict.adversarial is None else verdict.adversarial.to_bytes()
    counted = None if verdict.errors is None or table is None else tabulated(verdict.errors, verdict.correct, part, table)
    return Completed(_report(request, ready, verdict, part, proof, counted), found)


def _corruptions(request: Request, ready: Bench) -> Corruptions | None:
    """Whose errors to count: the threat's own, or every one where another challenge asks for the table."""
    if isinstance(ready.threat, Corruptions):
        return ready.threat if request.ensemble is None else None
    return Corruptions((1, 5)) if request.pack.challenge.evaluation.corruptions else None


def _controls(request: Request) -> Batch | None:
    """Images that do not rank, with which the checks compare those that do."""
    others = unranked(request.pack.challenge.data, CONTROLS, request.seed)
    return None if others is None else Batch(others.x, others.y, Draws(request.seed, others.ids).fork("controls"))


def _queries(verdict: Verdict) -> list[int | None]:
    """Rows until each example fell, None where it did not; empty for a search that does not count them."""
    if verdict.queries is None:
        return []
    fell = (verdict.unbroken & ~verdict.robust).tolist()
    return [rows if broken else None for rows, broken in zip(verdict.queries.tolist(), fell, strict=True)]


def _report(
    request: Request,
    ready: Bench,
    verdict: Verdict,
    part: Examples,
    proof: Certified | None,
    corruptions: CorruptionRecord | None,
) -> Report:
    """One piece's report."""
    flags = [*verdict.flags, *([] if proof is None else proof.flags), *ready.lane.doubts.taken()]
    own = proof if proof is not None and proof.record.classifier == "itself" else None
    count, robust = len(part), int(verdict.robust.sum())
    return Report(
        challenge=request.pack.slug,
        submission=ready.manifest.name,
        examples=count,
        ids=part.ids.tolist(),
        clean_accuracy=float(verdict.correct.double().mean()),
        robust_accuracy=robust / count,
        robust_interval=clopper_pearson(robust, count),
        certified_accuracy=None if own is None else own.record.accuracy,
        correct_bits=verdict.correct.int().tolist(),
        robust_bits=verdict.robust.int().tolist(),
        unbroken_bits=[] if verdict.target is None else verdict.unbroken.int().tolist(),
        targets=[] if verdict.target is None else verdict.target.tolist(),
        queries=_queries(verdict),
        certified_bits=[0] * count if own is None else own.record.bits,
        broken_by=verdict.broken_by.tolist(),
        attacks=verdict.attacks,
        flags=flags,
        checks=verdict.checks,
        certificate=None if proof is None else proof.record,
        corruptions=corruptions,
        verified=not any(flag.severity == "unverified" for flag in flags),
        seed=request.seed,
        forward_rows=verdict.forward_rows,
        backward_rows=verdict.backward_rows,
        seconds=verdict.seconds,
        digests=Digests(submission=ready.copy.digest, pack=request.pack.digest, data=part.digest),
        environment=environment(ready.lane, sandboxed=ready.lane.name == "host"),
    )
