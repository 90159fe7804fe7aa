import time

number, ends = 0, time.monotonic() + 30
try:
    while time.monotonic() < ends:
        open(f"/tmp/{number}", "w").close()
        number += 1
except OSError:
    pass
time.sleep(60)
