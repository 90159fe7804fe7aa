"""What is measured against peers, in one run on one machine."""

import sys
from pathlib import Path

import arena  # noqa: F401 (before torch: the platform's threads do not spin while they wait, and these are the platform's)

sys.path.append(str(Path(sys.prefix) / "peers"))  # where `make setup` puts them, apart from what the product needs
