"""What happens to challenges, for the apps above."""

from __future__ import annotations

from django.dispatch import Signal

# With challenge and `again`, sent by `Challenge`: it was published before and its results may be under other rules. A receiver
# answers how many are, and queues them again where `again` says so.
rules_changed = Signal()
