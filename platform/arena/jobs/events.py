"""What this app says upward: apps above it connect to these when Django starts."""

from __future__ import annotations

from django.dispatch import Signal

swept = Signal()  # with every sweep, for what an app makes whenever it is missing
