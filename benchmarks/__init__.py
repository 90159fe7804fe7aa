"""What is measured against peers, in one run on one machine."""

import arena  # noqa: F401 (before torch: the platform's threads do not spin while they wait, and these are the platform's)
