"""What a kind of threat allows, as far as attacks and checks ask: each class in this folder lists its own traits."""

from __future__ import annotations

from enum import Enum, auto


class Trait(Enum):
    """What holds for a kind of threat on honest networks. A check names the trait without which it means nothing."""

    RESIZABLE = auto()
    """Its epsilon can be changed alone, and with the largest one it holds every image."""
    PIXELWISE = auto()
    """Its epsilon bounds each pixel value by itself."""
    DENSE = auto()
    """A steepest step moves every pixel value."""
    SPARSE = auto()
    """A steepest step moves one pixel value, so that climbs need steps of their own."""
    WHOLE = auto()
    """A steepest step moves the whole point, not a pixel or a patch at a time."""
    SETTLES = auto()
    """Ten steps climb nearly as high as thirty."""
    STAYS = auto()
    """A climb that has become adversarial stays so."""
    FAINT = auto()
    """A random point hardly ever breaks what a climb does not: no few numbers say what it is."""
