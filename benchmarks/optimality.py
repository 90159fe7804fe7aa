"""How near minimal-norm attacks come, ours and others': attackbenchlib's optimality (Cina et al. 2025, AttackBench, eq. 5)."""

from __future__ import annotations

import contextlib
import io
import sys
import types

import torch
from torch import Tensor, nn

from benchmarks.peers import EPSILON, Run, of_adv_lib, of_foolbox, ours
from evaluator.attacks.norms import NORMS
from evaluator.threats import L0, L1, L2, Linf
from evaluator.torchvision_compat import let_torchvision_be_imported
from tests.evaluator.attack_support import Counting

BEST = "| norm | attack | fell | median distance | optimality, % | forward rows | backward rows |\n" + "|---" * 7 + "|"
OPTIMALITY = """The first {few} images. Optimality is attackbenchlib's: the area that an attack takes off the curve of accuracy
against distance. The measure is its share of what all attacks of the norm take off together. Rows are per image.

"""


def opponents(*, quick: bool) -> dict[str, dict[str, Run]]:
    """Minimal-norm attacks by norm and name; ours and a peer's of the same name have the same number of steps."""
    steps, walks, bisections = (50, 20, 3) if quick else (200, 100, 6)
    fool, lib = of_foolbox, of_adv_lib
    our_ead = {"steps": steps, "searches": bisections}
    fool_ead = {"steps": steps, "binary_search_steps": bisections, "initial_const": 1.0, "decision_rule": "L1"}
    walk, infinite = {"steps": walks}, float("inf")
    return {
        "l2": {
            "ALMA": ours("alma", L2(0.5), steps=steps), "ALMA, adv-lib": lib("alma", distance="l2", num_steps=steps),
            "DDN": ours("ddn", L2(0.5), steps=steps), "DDN, adv-lib": lib("ddn", steps=steps),
            "FMN": ours("fmn", L2(0.5), steps=steps), "FMN, adv-lib": lib("fmn", norm=2, steps=steps),
            "SuperDeepFool": ours("superdeepfool", L2(0.5)), "SuperDeepFool, adv-lib": lib("sdf"),
            "PDPGD": ours("pdpgd", L2(0.5), steps=steps), "PDPGD, adv-lib": lib("pdpgd", norm=2, num_steps=steps),
            "Brendel-Bethge": ours("brendel_bethge", L2(0.5), steps=walks),
            "Brendel-Bethge, foolbox": fool("L2BrendelBethgeAttack", **walk),
            "HopSkipJump 2000": ours("hopskipjump", L2(0.5), queries=2000),
            "HopSkipJump, foolbox": fool("HopSkipJumpAttack", steps=8, max_gradient_eval_steps=250),
        },
        "linf": {
            "FMN": ours("fmn", Linf(EPSILON), steps=steps), "FMN, adv-lib": lib("fmn", norm=infinite, steps=steps),
            "PDPGD": ours("pdpgd", Linf(EPSILON), steps=steps), "PDPGD, adv-lib": lib("pdpgd", norm=infinite, num_steps=steps),
            "Brendel-Bethge": ours("brendel_bethge", Linf(EPSILON), steps=walks),
            "Brendel-Bethge, foolbox": fool("LinfinityBrendelBethgeAttack", **walk),
        },
        "l1": {
            "EAD": ours("ead", L1(4.0), **our_ead), "EAD, foolbox": fool("EADAttack", **fool_ead),
            "FMN": ours("fmn", L1(4.0), steps=steps), "FMN, adv-lib": lib("fmn", norm=1, steps=steps),
            "PDPGD": ours("pdpgd", L1(4.0), steps=steps), "PDPGD, adv-lib": lib("pdpgd", norm=1, num_steps=steps),
            "Brendel-Bethge": ours("brendel_bethge", L1(4.0), steps=walks),
            "Brendel-Bethge, foolbox": fool("L1BrendelBethgeAttack", **walk),
        },
        "l0": {
            "sigma-zero": ours("sigma_zero", L0(5), steps=steps), "sigma-zero, adv-lib": lib("sigma_zero", num_steps=steps),
            "FMN": ours("fmn", L0(5), steps=steps), "FMN, adv-lib": lib("fmn", norm=0, steps=steps),
        },
    }  # fmt: skip


def optimality(model: nn.Module, x: Tensor, y: Tensor, *, quick: bool) -> list[str]:
    """Rows of the second table: norm, attack, how many fell, median distance, optimality, forward and backward rows."""
    for module, names in {"visdom": (), "wandb": ("Api",)}.items():  # imported for plots and storage, never called here
        stub = sys.modules.setdefault(module, types.ModuleType(module))
        for name in names:
            setattr(stub, name, object)
    let_torchvision_be_imported()
    from attackbench.metrics.distances import eval_optimality

    lines = []
    for kind, runs in opponents(quick=quick).items():
        distances, spent = {}, {}
        for name, run in runs.items():
            counting = Counting(model).eval()
            with contextlib.redirect_stdout(io.StringIO()):
                points = run(counting, x, y)
            moved = torch.where((points - x).abs() > 1e-6, points - x, 0.0)
            fell = model(points).argmax(dim=1) != y
            distances[name] = torch.where(fell, NORMS[kind].size(moved), torch.inf)
            spent[name] = (counting.forward_rows // len(x), counting.backward_rows // len(x))
        best = torch.stack(list(distances.values())).amin(dim=0).numpy()
        for name, distance in distances.items():
            score = eval_optimality(distance.numpy(), best, clean_acc=1.0)
            told = f"{int(distance.isfinite().sum())} | {float(distance.median()):.4f} | {100 * score:.1f}"
            lines.append(f"| {kind} | {name} | {told} | {spent[name][0]} | {spent[name][1]} |")
            print(lines[-1], flush=True)
    return lines
