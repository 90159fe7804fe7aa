"""What this app says upward: apps above it connect to these when Django starts."""

from __future__ import annotations

from django.dispatch import Signal

# A defense has its verdict, in the transaction that writes it: evaluation, report (signed), robust_accuracy (what it stands at
# under everything that anybody found), at (the database's time).
opened = Signal()
