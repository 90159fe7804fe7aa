import os
import signal

os.chdir("/tmp")
os.kill(os.getpid(), signal.SIGSEGV)
