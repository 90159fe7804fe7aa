import os
import time

born = 0
try:
    while born < 1000:
        if os.fork() == 0:
            os._exit(0)
        born += 1
except OSError:
    pass
time.sleep(60)
