import os
import time

os.close(1)
time.sleep(10**6)
