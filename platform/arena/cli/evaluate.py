"""`redoubt evaluate PACK PATH`: the official evaluation, here, with the same code and the same verdicts as on the site."""

from __future__ import annotations

import secrets
from pathlib import Path
from statistics import mean, median
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from arena.cli.folders import inspected_defense
from arena.cli.keys import signing_key
from arena.cli.waiting import shown
from evaluator.data.own import open_pack
from evaluator.errors import InputError, PlatformError, SubmissionError, visible
from evaluator.manifests.spec import Pack
from evaluator.records import receipt
from evaluator.records.cost import cost
from evaluator.records.report import (
    CertificateRecord,
    Completed,
    CorruptionRecord,
    Outcome,
    PlatformFailed,
    Report,
    SubmissionFailed,
)
from evaluator.records.report import Progress as Step

CANARY_SAYS = 10  # survivors: one of them falls with 65 % where a tenth would, and seldom among fewer
console = Console(stderr=True)


def evaluate(
    pack: Annotated[str, typer.Argument(help="A challenge pack: a slug such as mnist-linf, or a folder.")],
    path: Annotated[Path, typer.Argument(help="The submission's folder, with its defense.toml.")],
    examples: Annotated[
        int | None, typer.Option(min=1, help="Rank on the first N images only (not the official score).")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Repeat an evaluation bit for bit; random when left out.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the signed report here.")] = None,
    sandbox: Annotated[str, typer.Option(help="bubblewrap, docker or auto.")] = "auto",
    lane: Annotated[str, typer.Option(help="auto, host (always sandboxed) or in-process (weights-only entries).")] = "auto",
    device: Annotated[str, typer.Option(help="Where an in-process model runs: cpu or cuda.")] = "cpu",
) -> None:
    """Evaluate a defense exactly as the site does; print the verdict and write a signed report."""
    if lane not in ("auto", "host", "in-process"):
        raise InputError(f'--lane "{lane}" is unknown.', help="Use auto, host or in-process.")
    if json is not None and not json.parent.is_dir():
        raise InputError("there is no such folder.", where=str(json.parent), help="Make it first.")
    challenge = open_pack(pack)
    if not path.is_dir():
        raise InputError("is not a folder.", where=str(path), help="Pass the folder that holds defense.toml.")
    inspected_defense(path, challenge.challenge)
    chosen = secrets.randbits(63) if seed is None else seed
    outcome = run(challenge, path, examples, chosen, sandbox, lane, device)
    match outcome:
        case SubmissionFailed(reason, detail):
            raise SubmissionError(reason, detail, where=f"submission failed ({reason})")
        case PlatformFailed(reason, detail):
            raise PlatformError(reason, detail, where=f"platform failed ({reason})")
        case Completed(report):
            signed = receipt.sign(report, signing_key())
            if json is not None:
                json.write_text(signed.model_dump_json(indent=1))
            show(signed)


def run(pack: Pack, path: Path, examples: int | None, seed: int, sandbox: str, lane: str, device: str) -> Outcome:
    """Runs the evaluation behind a progress bar on stderr."""
    from arena.running.defense import Request, run_defense
    from arena.running.listening import Listener
    from sandbox.choose import open_sandbox_or_none

    log: list[bytes] = []
    with shown(f"{pack.slug}: getting the images and starting", console=console) as waiting:

        def report(step: Step) -> None:
            what = step.attack or step.stage
            rows = cost(step.forward_rows, step.backward_rows)
            waiting(f"{pack.slug}: {what} · {step.survivors} still standing · {rows:,} rows", step.done, step.total)

        request = Request(pack, path, seed, examples=examples, lane=lane, device=device)  # type: ignore[arg-type]
        outcome = run_defense(request, sandbox=open_sandbox_or_none(sandbox), listener=Listener(report, log.append))
    if isinstance(outcome, SubmissionFailed) and log and log[-1]:
        console.print("The submission's own output:", style="dim")
        console.print(visible(log[-1].decode("utf-8", "replace"))[-2000:], markup=False, highlight=False)
    return outcome


def show(report: Report) -> None:
    """The verdict as a table on stdout."""
    out = Console()
    table = Table(title=f"{escape(report.submission)} on {report.challenge}, {report.examples} images", title_justify="left")
    for name in ("attack", "tried", "broke", "standing", "forward", "backward", "s"):
        table.add_column(name, justify="left" if name == "attack" else "right", no_wrap=name == "attack")
    for a in (attack for attack in report.attacks if attack.tried):
        counts = (a.tried, a.broken, a.survivors, a.forward_rows, a.backward_rows)
        table.add_row(a.name, *(f"{count:,}" for count in counts), f"{a.seconds:.1f}")
    out.print(table)
    low, high = report.robust_interval
    out.print(f"clean accuracy   {report.clean_accuracy:7.2%}")
    out.print(f"robust accuracy  {report.robust_accuracy:7.2%}   95 % interval {low:.2%} to {high:.2%}")
    if report.targets:
        out.print("                 the share whose target class was not reached, misclassified images included")
    asked = sorted(rows for rows in report.queries if rows is not None)
    if asked:
        out.print(
            f"queries          median {median(asked):,.0f}, mean {mean(asked):,.0f} until success, of {len(asked)} broken"
        )
    if report.certified_accuracy is not None:
        out.print(f"certified        {report.certified_accuracy:7.2%}")
    if report.certificate is not None:
        out.print(_proof(report.certificate), highlight=False)
    if report.corruptions is not None:
        _corruptions(report.corruptions, out)
    for flag in report.flags:
        out.print(f"flag: {flag.check}: {flag.evidence}", style="yellow")
    for line in few_for_the_canary(report):
        out.print(line, highlight=False)
    out.print(f"verified: {'yes' if report.verified else 'no'} · seed {report.seed} · {report.seconds:.1f} s", highlight=False)


def _corruptions(record: CorruptionRecord, out: Console) -> None:
    """The table of errors in percent, and by how much they exceed or fall below the standard network's."""
    title = f"errors under common corruptions in percent, by severity; clean {record.clean_errors / record.examples:.1%}"
    table = Table(title=title, title_justify="left")
    for name in ("corruption", *(str(severity) for severity in record.severities), "CE"):
        table.add_column(name, justify="left" if name == "corruption" else "right", no_wrap=True)
    for kind, counts, ratio in zip(record.kinds, record.errors, record.ratios, strict=True):
        shares = (f"{100 * count / record.examples:.1f}" for count in counts)
        table.add_row(kind, *shares, "-" if ratio is None else f"{ratio:.1%}")
    out.print(table)
    if record.standard is not None and record.mce is not None:
        relative = "" if record.relative_mce is None else f"   relative mCE {record.relative_mce:.2%}"
        out.print(f"mCE              {record.mce:7.2%}{relative}   100 % is {record.standard.network}", highlight=False)


def few_for_the_canary(report: Report) -> list[str]:
    """A sentence where so few survivors were asked without gradients that the canary's silence says little."""
    canaries = [attack for attack in report.attacks if attack.name.endswith("canary")]
    tried, standing = sum(attack.tried for attack in canaries), sum(report.robust_bits)
    if not canaries or not standing or tried >= CANARY_SAYS:
        return []
    return [
        f"note: the search without gradients, which tells whether they can be trusted, tried {tried} of {standing} survivors. "
        f"Its silence says little below {CANARY_SAYS}; use more --examples."
    ]


def _proof(record: CertificateRecord) -> str:
    """What is proven, and of which classifier."""
    whose = "the smoothed classifier" if record.classifier == "smoothed" else "the classifier itself"
    at = ", ".join(f"{share:.1%} at {radius:g}" for radius, share in zip(record.radii, record.accuracies, strict=True))
    lines = [f"proven           {record.method} of {whose}: {at}; average certified radius {record.average_radius:.3f}"]
    if record.classifier == "smoothed" and record.empirical_accuracy is not None:
        chance = f"at most {record.expected_false:.3g} false certificates expected"
        lines.append(f"                 its empirical accuracy {record.empirical_accuracy:.2%}; {chance}")
    return "\n".join(lines)
