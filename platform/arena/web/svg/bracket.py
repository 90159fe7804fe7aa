"""The product's signature drawing: certified <= true <= empirical robust accuracy, on one line from 0 to 100 %."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

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

    Shape repeats what colour says: the proven part is a thick bar, the unknown part a thin one, the empirical accuracy a
    tall tick with its interval as whiskers, the clean accuracy a dashed tick.
    """
    return format_html(
        '<svg class="bracket" width="100%" height="{}" role="img" aria-label="{}" overflow="visible">{}{}{}{}{}{}</svg>',
        SCALE_HEIGHT if scale else HEIGHT,
        figures.label,
        axis() if scale else "",
        _bar("base", 1.0, BASE, thickness=8),
        _bar("gap", figures.empirical, GAP, thickness=8),
        _bar("proof", figures.certified or 0.0, PROOF, thickness=14) if figures.certified else "",
        _whiskers(figures.interval),
        _ticks(figures),
    )


def _bar(name: str, share: float, color: str, *, thickness: int) -> SafeString:
    return format_html(
        '<rect class="{}" x="0" y="{}" width="{}" height="{}" rx="2" fill="{}"/>',
        name,
        MIDDLE - thickness // 2,
        along(share),
        thickness,
        color,
    )


def _line(name: str, start: str, stop: str, top: int, bottom: int, color: str, width: int, dashes: str = "none") -> SafeString:
    return format_html(
        '<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}" stroke="{}" stroke-width="{}" stroke-dasharray="{}"/>',
        *(name, start, stop, top, bottom, color, width, dashes),
    )


def _whiskers(interval: tuple[float, float]) -> SafeString:
    low, high = (along(bound) for bound in interval)
    lines = [(low, high, MIDDLE, MIDDLE), (low, low, MIDDLE - 4, MIDDLE + 4), (high, high, MIDDLE - 4, MIDDLE + 4)]
    return format_html_join("", "{}", ((_line("ci", *line, EDGE, 1),) for line in lines))


def _ticks(figures: Bracket) -> SafeString:
    at, clean = along(figures.empirical), along(figures.clean)
    edge = _line("edge", at, at, 2, 22, EDGE, 3)
    return format_html("{}{}", _line("clean", clean, clean, 3, 21, MUTED, 1, "2 2"), edge)


def axis() -> SafeString:
    """The scale under a drawing, from 0 to 100 %."""
    anchors = {0: "start", 100: "end"}
    marks = format_html_join(
        "",
        '{}<text x="{}%" y="42" font-size="11" text-anchor="{}" fill="{}">{}</text>',
        (
            (_line("tick", f"{at}%", f"{at}%", 0, 28, LINE, 1), at, anchors.get(at, "middle"), MUTED, f"{at} %" if at else "0")
            for at in (0, 25, 50, 75, 100)
        ),
    )
    return format_html('<g aria-hidden="true">{}</g>', marks)
