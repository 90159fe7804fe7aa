import os
import signal

for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
while True:
    try:
        if os.fork() != 0:
            os._exit(0)
        os.setsid()
    except OSError:
        pass
