"""Drawings: pure functions from figures to SVG, the same on board, entry page, badge and embed.

Every mark carries the light theme's colour as a presentation attribute, so that a drawing stands alone as a file. The
site's style sheet overrides them by class and follows the reader's theme. No style attribute: the content security
policy forbids them.
"""

from arena.web.svg.badge import badge, doubtful_badge
from arena.web.svg.bracket import Bracket, bracket
from arena.web.svg.curves import curves
from arena.web.svg.falls import Step, falls
from arena.web.svg.progress import progress
from arena.web.svg.proof_curves import ProofCurve, proof_curves
from arena.web.svg.standing import standing

__all__ = [
    "Bracket",
    "ProofCurve",
    "Step",
    "badge",
    "bracket",
    "curves",
    "doubtful_badge",
    "falls",
    "progress",
    "proof_curves",
    "standing",
]
