import os

from frames import logits, say, serve


def half(rows: int) -> bytes:
    say(logits(rows)[:50])
    os._exit(3)


serve(forward=lambda asked: half(asked.rows))
