import os
import time

from attempts import done

if os.fork() == 0:
    if os.fork() == 0:
        os.closerange(0, 3)
        time.sleep(300)
    os._exit(0)
os.wait()
done()
