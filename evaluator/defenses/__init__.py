"""Reference defenses: architectures for weights-only submissions, training methods, and the shipped baselines."""

from __future__ import annotations
