"""A page that shows adversarial examples: original, adversarial, scaled difference, labels, distance. One file, no script."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

_SIDE = 112
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
ul { list-style: none; padding: 0; display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1.5rem }
img { width: 7rem; height: 7rem; image-rendering: pixelated; margin-right: 2px }
p { margin: .3rem 0 0; font-variant-numeric: tabular-nums }
"""


@dataclass(frozen=True)
class Exhibit:
    """One example. original, adversarial: (C, H, W) in [0, 1] with 1 or 3 channels; label, answer: classes; distance: float."""

    index: int
    original: Tensor
    adversarial: Tensor
    label: int
    answer: int
    distance: float


def gallery(title: str, exhibits: list[Exhibit], *, unit: str) -> str:
    """The HTML of the page. unit: the name of the distance, such as "Linf"."""
    items = "\n".join(_item(exhibit, unit) for exhibit in exhibits) or "<li>Nothing was broken.</li>"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    lead = "Original, adversarial, and their difference scaled to the full range around gray."
    return (
        f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>'
        f"<p>{lead}</p><ul>\n{items}\n</ul></body></html>\n"
    )


def _item(exhibit: Exhibit, unit: str) -> str:
    difference = exhibit.adversarial - exhibit.original
    scaled = 0.5 + difference / (2 * difference.abs().max().clamp_min(1e-12))
    named = zip(("original", "adversarial", "difference"), (exhibit.original, exhibit.adversarial, scaled), strict=True)
    images = "".join(f'<img alt="{name}, image {exhibit.index}" src="{png_uri(image)}">' for name, image in named)
    caption = f"image {exhibit.index}: {exhibit.label} → {exhibit.answer}, {html.escape(unit)} {exhibit.distance:.4g}"
    return f"<li>{images}<p>{caption}</p></li>"


def png_uri(image: Tensor) -> str:
    """A (C, H, W) image in [0, 1] as a data URI, enlarged without smoothing."""
    pixels = (image.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    array = pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array).resize((_SIDE, _SIDE), Image.Resampling.NEAREST).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
