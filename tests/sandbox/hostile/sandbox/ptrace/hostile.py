import os
import signal
import time

from attempts import attempt, done, system_call

child = os.fork()
if child == 0:
    time.sleep(60)
attempt("PTRACE_TRACEME", lambda: system_call(101, 0, 0, 0, 0))
for pid in (child, 1, os.getppid()):
    attempt(f"PTRACE_ATTACH {pid}", lambda pid=pid: system_call(101, 16, pid, 0, 0))
    attempt(f"PTRACE_SEIZE {pid}", lambda pid=pid: system_call(101, 0x4206, pid, 0, 0))
os.kill(child, signal.SIGKILL)
done()
