import os
import time

from attempts import escaped

mine = 0
while True:
    try:
        mine = mine + 1 if os.fork() else 0
    except OSError:
        time.sleep(0.01)
    if mine > 16:
        escaped(f"{mine} children where 16 processes are allowed")
        break
