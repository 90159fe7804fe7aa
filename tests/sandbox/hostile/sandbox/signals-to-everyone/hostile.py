import os
import signal

from attempts import BAIT, attempt, done

attempt("kill the victim", lambda: os.kill(BAIT["victim"], signal.SIGKILL))
attempt("kill the worker", lambda: os.kill(BAIT["evaluator"], signal.SIGKILL))
if os.fork() == 0:
    os.kill(-1, signal.SIGKILL)
    os._exit(0)
done()
