import os
import time

for _ in range(8):
    if os.fork() == 0:
        hoard = []
        for _ in range(60):
            hoard.append(os.urandom(1 << 20))
            time.sleep(0.005)
        time.sleep(60)
time.sleep(60)
