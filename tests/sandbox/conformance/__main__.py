"""Runs checks in this very process, which is how they are run as an ordinary user: BACKEND.

Each line on stdin names a check ("module function"); the answer is one line of JSON, the traceback or "" when it holds.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback

from sandbox import open_sandbox

sandbox = open_sandbox(sys.argv[1])
for line in sys.stdin:
    module, check = line.split()
    answer = ""
    try:
        getattr(importlib.import_module(f"tests.sandbox.conformance.{module}"), check)(sandbox)
    except Exception:  # whatever it is, it is told and the next check follows
        answer = traceback.format_exc()
    print(json.dumps(answer), flush=True)
