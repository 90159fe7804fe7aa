"""The platform: who submits, what is evaluated, who stands."""

import os

# `sandbox.python_env.WAITING`, which says why: read by the OpenMP runtime when torch is loaded, so it is set before anything
# can import it; worker processes inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
