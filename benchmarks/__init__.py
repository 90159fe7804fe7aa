"""What is measured against peers, in one run on one machine."""

import arena  # noqa: F401 (before torch: the platform says how threads wait, and these are the platform's)
