import time

from frames import logits, say, serve


def late(rows: int) -> bytes:
    whole = logits(rows)
    time.sleep(2.3)
    say(whole[:8])
    time.sleep(2.3)
    return whole[8:]


serve(forward=lambda asked: late(asked.rows))
