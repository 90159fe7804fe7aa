"""One search for each kind of threat that is no Linf or L2 ball, and one to targets in those: climbs, canary, what stands
behind it."""

from __future__ import annotations

from evaluator.attacks.apgd import APGD
from evaluator.attacks.apgd_t import APGDT
from evaluator.attacks.brendel_bethge import BrendelBethge
from evaluator.attacks.corner_search import CornerSearch
from evaluator.attacks.ead import EAD
from evaluator.attacks.fab_t import FABT
from evaluator.attacks.greedy_pixels import GreedyPixels
from evaluator.attacks.patch_places import PatchPlaces
from evaluator.attacks.patch_rs import PatchRS
from evaluator.attacks.pgd_0 import PGD0
from evaluator.attacks.random_search import RandomSearch
from evaluator.attacks.rotation_grid import RotationGrid
from evaluator.attacks.sigma_zero import SigmaZero
from evaluator.attacks.sparse_rs import SparseRS
from evaluator.attacks.square import Square
from evaluator.attacks.worst_of_k import WorstOfK
from evaluator.ensembles.grid_climb import GridClimb
from evaluator.ensembles.guarded import Guarded
from evaluator.ensembles.sequence import Stage

L0_SEARCH = Guarded(
    climbs=(
        Stage("sigma-zero, 100 steps", SigmaZero(steps=100, stop_within=True)),
        Stage("PGD-0, margin", PGD0(steps=40, restarts=2)),
        Stage("APGD-T", APGDT(steps=50, targets=9)),
        Stage("greedy pixels", GreedyPixels(queries=3500, shortlist=100)),
    ),
    canary=Stage("Sparse-RS canary", SparseRS(queries=1000)),
    full=(
        Stage("full Sparse-RS", SparseRS(queries=3000)),
        Stage("full CornerSearch", CornerSearch(queries=3000)),
        Stage("full greedy pixels", GreedyPixels(queries=10000, shortlist=400)),
        Stage("full sigma-zero", SigmaZero(steps=500, stop_within=True)),
    ),
)
L1_SEARCH = Guarded(
    climbs=(
        Stage("APGD-100, cross-entropy", APGD(steps=100, loss="ce")),
        Stage("APGD-100, margin, 2 starts", APGD(steps=100, restarts=2, loss="margin")),
        Stage("APGD-T", APGDT(steps=50, targets=9)),
        Stage("FAB-T", FABT(steps=30, targets=3, stop_within=True)),
        Stage("climb on the grid of files", GridClimb(steps=10)),
    ),
    canary=Stage("greedy pixels canary", GreedyPixels(queries=3500, shortlist=100)),
    full=(
        Stage("full greedy pixels", GreedyPixels(queries=12000, shortlist=400)),
        Stage("full APGD-200, margin, 5 starts", APGD(steps=200, restarts=5, loss="margin")),
        Stage("full FAB-T", FABT(steps=100, targets=9, stop_within=True)),
        Stage("full Brendel-Bethge", BrendelBethge(steps=100, stop_within=True)),
        Stage("full elastic net", EAD(steps=50, searches=5, stop_within=True)),
        Stage("full Square", Square(queries=3000)),
    ),
)
PATCH_SEARCH = Guarded(
    climbs=(Stage("patch at places, coarse to fine", PatchPlaces()),),
    canary=Stage("Patch-RS canary", PatchRS(queries=1000)),
    full=(
        Stage("full patch at every place", PatchPlaces(stride=0.0, steps=(12, 30, 60), kept=(20, 8), targets=9)),
        Stage("full Patch-RS", PatchRS(queries=3000)),
    ),
)
ROTATION_SEARCH = Guarded(
    climbs=(Stage("worst of 50, climbed", WorstOfK(tries=50, starts=3, steps=20)),),
    canary=Stage("grid of rotations", RotationGrid()),
    full=(
        Stage("full grid of rotations", RotationGrid(angles=61, shifts=7, worst=20, refine=60)),
        Stage("full worst of 200, climbed", WorstOfK(tries=200, starts=20, steps=30)),
    ),
)
POINT_SEARCH = Guarded(
    climbs=(
        Stage("APGD-100, cross-entropy", APGD(steps=100, loss="ce")),
        Stage("APGD-100, margin, 2 starts", APGD(steps=100, restarts=2, loss="margin")),
        Stage("worst of 100, climbed", WorstOfK(tries=100, starts=5, steps=30)),
        Stage("APGD-T", APGDT(steps=50, targets=9)),
    ),
    canary=Stage("random search canary", RandomSearch(queries=500)),
    full=(
        Stage("full random search", RandomSearch(queries=2000)),
        Stage("full worst of 500, climbed", WorstOfK(tries=500, starts=20, steps=50)),
        Stage("full APGD-T, margin", APGDT(steps=100, targets=9, loss="margin")),
    ),
)
DENSE_AIMED = Guarded(
    climbs=(
        Stage("APGD-50, margin to the target", APGD(steps=50, loss="margin")),
        Stage("APGD-100, cross-entropy to the target", APGD(steps=100, loss="ce")),
        Stage("APGD-100, DLR to the target, 2 starts", APGD(steps=100, restarts=2, loss="dlr")),
        Stage("FAB to the target", FABT(steps=30, targets=1, stop_within=True)),
    ),
    canary=Stage("Square canary", Square(queries=300)),
    full=(
        Stage("full APGD-200, margin, 3 starts", APGD(steps=200, restarts=3, loss="margin")),
        Stage("full FAB to the target", FABT(steps=100, targets=1, stop_within=True)),
        Stage("full Square", Square(queries=2000)),
    ),
    near=0.05,
    gain=0.05,
    masking=True,
)
