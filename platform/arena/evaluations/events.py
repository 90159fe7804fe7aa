"""What this app says upward: apps above it connect to these when Django starts."""

from __future__ import annotations

from django.dispatch import Signal

# Both within the transaction that writes it. queued: evaluation. judged: evaluation, report (signed), found (the archive of
# what broke it, bytes), at (the database's time).
queued = Signal()
judged = Signal()
