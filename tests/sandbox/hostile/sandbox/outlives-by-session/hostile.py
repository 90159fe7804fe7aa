import os
import signal
import time

from attempts import done

if os.fork() == 0:
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.closerange(0, 3)
        while True:
            time.sleep(300)
    os._exit(0)
os.wait()
done()
