"""`redoubt certify DEFENSE`: what can be proven about a defense, with the site's own code."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from arena.cli.attack import defense_folder
from arena.cli.submit import ServerOption, TokenOption
from evaluator.data.own import open_pack
from evaluator.errors import InputError
from evaluator.manifests.certificate_specs import CertificateSpec, CertifiedSpec, check_request
from evaluator.manifests.manifest_errors import explain
from evaluator.manifests.spec import Challenge, DefenseManifest, load_manifest

_STEPS = 4  # of sigma, where neither the person nor the board says at which radii
_L2_METHODS = ("smoothing", "lipschitz")


def certify(
    defense: Annotated[
        str, typer.Argument(help="A submission's folder, a shipped baseline such as mnist-smooth, or the id of your entry.")
    ],
    method: Annotated[
        str | None, typer.Option(help="smoothing, ibp, crown, bab, milp or lipschitz; the defense's own request when left out.")
    ] = None,
    sigma: Annotated[float | None, typer.Option(help="Smoothing: the standard deviation of its noise.")] = None,
    noise: Annotated[str | None, typer.Option(help="Smoothing: gaussian, ball or quantized-gaussian.")] = None,
    n: Annotated[int | None, typer.Option(help="Smoothing: most samples of one image; 100,000 when left out.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Smoothing: chance of a false certificate of one image; 0.001.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Crown, bab, milp: steps of slope optimisation.")] = None,
    domains: Annotated[int | None, typer.Option(help="Bab: most domains of one image; 2,000 when left out.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Milp: most nodes of one search; 1,000 when left out.")] = None,
    pack: Annotated[
        str | None, typer.Option(help="The challenge whose images and threat are used; mnist-linf, or mnist-l2 for L2 methods.")
    ] = None,
    radii: Annotated[
        str | None, typer.Option(help="Radii to prove, such as 0.25,0.5,1; the challenge's own when left out.")
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="How many of its images.")] = 100,
    seed: Annotated[int | None, typer.Option(min=0, help="Repeat a run; random when left out.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write ids, labels and certified radii here (.npz).")] = None,
    sandbox: Annotated[str, typer.Option(help="bubblewrap, docker or auto.")] = "auto",
    server: ServerOption = None,
    token: TokenOption = None,
) -> None:
    """Certify a defense: accuracy at each radius, average certified radius, abstentions, and the chance of error."""
    from arena.cli.certifying import Order, carry_out, write_radii

    options: dict[str, float | int | str | None] = {"sigma": sigma, "noise": noise, "n": n, "alpha": alpha}
    options |= {"iterations": iterations, "domains": domains, "nodes": nodes}
    given = {name: value for name, value in options.items() if value is not None}
    if save is not None and not save.parent.is_dir():
        raise InputError("there is no such folder.", where=str(save.parent), help="Make it first.")
    with defense_folder(defense, server, token) as folder:
        manifest = load_manifest(folder / "defense.toml", DefenseManifest)
        request = _request(method, given, manifest)
        chosen_pack = open_pack(pack or ("mnist-l2" if request.method in _L2_METHODS else "mnist-linf"))
        challenge = chosen_pack.challenge
        request = check_request(request, threat=challenge.threat.kind)
        chosen = secrets.randbits(62) if seed is None else seed
        wanted = _radii(radii, request, challenge)
        done = carry_out(Order(folder, request, chosen_pack, wanted, examples, chosen, sandbox))
    title = f"{request.method} of {escape(manifest.name)}, {challenge.threat.kind}, {len(done.proven.examples)} images"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("value", justify="right")
    for label, value in done.rows():
        table.add_row(label, value)
    Console().print(table)
    if save is not None:
        write_radii(save, done)
        print(f"wrote {save}")


def _request(method: str | None, given: dict[str, float | int | str], manifest: DefenseManifest) -> CertificateSpec:
    """The request of the command line, or the defense's own; validated by the rules of defense.toml."""
    if method is None:
        if given:
            raise InputError(f"--{next(iter(given))} needs a --method.", help="Add one, such as --method smoothing.")
        if manifest.certificate is None:
            help_ = "Pass --method, such as --method smoothing --sigma 0.25."
            raise InputError("asks for no certificate.", where=manifest.name, help=help_)
        return manifest.certificate
    try:
        return CertificateSpec.model_validate({"method": method, **given}, strict=True)
    except ValidationError as error:
        raise explain(error, CertificateSpec, where="redoubt certify") from error


def _radii(text: str | None, request: CertificateSpec, challenge: Challenge) -> tuple[float, ...]:
    """The radii of the command line, the board's, or for a board that has none: steps of sigma, or 0 and epsilon."""
    if text is None:
        if challenge.certified is not None:
            return challenge.certified.radii
        if request.sigma is not None:
            return tuple(step * request.sigma for step in range(_STEPS + 1))
        return (0.0, float(getattr(challenge.threat, "epsilon", 0.0)))
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise InputError(f'"{text}" is not a list of numbers.', where="--radii", help="For example: 0.25,0.5,1.") from error
    try:
        return CertifiedSpec.model_validate({"radii": values}).radii
    except ValidationError as error:
        raise explain(error, CertifiedSpec, where="--radii") from error
