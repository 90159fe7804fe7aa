"""`python -m sandbox.launcher CONFIG.toml` listens until it is ended."""

from sandbox.launcher.server import main

main()
