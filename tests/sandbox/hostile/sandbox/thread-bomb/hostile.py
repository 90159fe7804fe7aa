import os
import threading
import time

from attempts import done, escaped

started = 0
try:
    while started < 1000:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        started += 1
except RuntimeError:
    pass
if started > 16:
    escaped(f"{started} threads where 16 processes are allowed")
done()
os._exit(0)
