"""The platform: who submits, what is evaluated, who stands."""

import os

# OpenMP threads that spin while they wait take the processor from the model host and the web beside them. Read by the
# runtime when torch is loaded, so it is set before anything can import it; worker processes inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
