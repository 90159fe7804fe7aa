"""Networks, one a file; all take (n, C, H, W) float32 in [0, 1], normalise inside, and return logits (n, K)."""

from __future__ import annotations
