"""The product's signature drawing: certified <= true <= empirical robust accuracy, on one line from 0 to 100 %."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from arena.web.svg.marks import BASE, EDGE, GAP, LINE, MUTED, PROOF, along, percent

HEIGHT = 24
SCALE_HEIGHT = 44
MIDDLE = 12


@dataclass(frozen=True)
class Bracket:
    """What is known of a defense's true robust accuracy; all figures are shares in [0, 1].

    empirical: correct under every verified adversarial input found so far. interval: its 95 % interval.
    clean: accuracy on the unperturbed images. certified: provably robust share, None where no certificate was asked for.
    """

    empirical: float
    interval: tuple[float, float]
    clean: float
    certified: float | None = None

    @property
    def label(self) -> str:
        """The drawing in words, for those who do not see it."""
        certified = "no certificate" if self.certified is None else f"certified {percent(self.certified)} %"
        low, high = (percent(bound) for bound in self.interval)
        figures = f"empirical {percent(self.empirical)} %, 95 % interval {low} to {high} %, clean {percent(self.clean)} %"
        return f"{certified}, {figures}"


def bracket(figures: Bracket, *, scale: bool = False) -> SafeString:
    """Draws the bracket as an SVG element as wide as its container and 24 px high (44 with `scale`, which adds an axis).

    Shape repeats what color says. The proven part is a thick bar, the unknown part a thin one. The empirical accuracy a
    tall tick with its interval as whiskers, the clean accuracy a dashed tick.
    """
    at, clean = along(figures.empirical), along(figures.clean)
    low, high = (along(bound) for bound in figures.interval)
    marks = (
        axis() if scale else "",
        bar("base", 1.0, BASE, thickness=8),
        bar("gap", figures.empirical, GAP, thickness=8),
        bar("proof", figures.certified, PROOF, thickness=14) if figures.certified else "",
        line("ci", low, high, MIDDLE, MIDDLE, EDGE),
        line("ci", low, low, MIDDLE - 4, MIDDLE + 4, EDGE),
        line("ci", high, high, MIDDLE - 4, MIDDLE + 4, EDGE),
        line("clean", clean, clean, 3, 21, MUTED, dashes="2 2"),
        line("edge", at, at, 2, 22, EDGE, width=3),
    )
    # Only figures and words of ours go in: of those, "< 0.1" needs escaping. A board draws a thousand of these.
    return mark_safe(  # noqa: S308
        f'<svg class="bracket" width="100%" height="{SCALE_HEIGHT if scale else HEIGHT}" role="img" '
        f'aria-label="{escape(figures.label)}" overflow="visible">{"".join(marks)}</svg>'
    )


def bar(name: str, share: float, color: str, *, thickness: int) -> str:
    """A bar from 0 to `share`, centred on the drawing's line."""
    top = MIDDLE - thickness // 2
    return f'<rect class="{name}" x="0" y="{top}" width="{along(share)}" height="{thickness}" rx="2" fill="{color}"/>'


def line(name: str, start: str, stop: str, top: int, bottom: int, color: str, *, width: int = 1, dashes: str = "") -> str:
    """A line between two places along the drawing (see `along`) and two heights in px."""
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line class="{name}" x1="{start}" x2="{stop}" y1="{top}" y2="{bottom}" '
        f'stroke="{color}" stroke-width="{width}"{dashed}/>'
    )


def axis() -> str:
    """The scale under a drawing, from 0 to 100 %."""
    anchors = {0: "start", 100: "end"}
    marks = (
        line("tick", f"{at}%", f"{at}%", 0, 28, LINE)
        + f'<text x="{at}%" y="42" font-size="11" text-anchor="{anchors.get(at, "middle")}" fill="{MUTED}">'
        + (f"{at} %</text>" if at else "0</text>")
        for at in (0, 25, 50, 75, 100)
    )
    return f'<g aria-hidden="true">{"".join(marks)}</g>'
