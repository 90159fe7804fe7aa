import os

from attempts import BAIT, attempt, done, system_call

for pid in (1, BAIT["victim"], BAIT["evaluator"]):
    attempt(f"process_vm_readv {pid}", lambda pid=pid: system_call(310, pid, 0, 0, 0, 0, 0))
    attempt(f"process_vm_writev {pid}", lambda pid=pid: system_call(311, pid, 0, 0, 0, 0, 0))
for pid in (BAIT["victim"], BAIT["evaluator"]):
    if pid != os.getpid():
        attempt(f"/proc/{pid}/mem", lambda pid=pid: open(f"/proc/{pid}/mem", "rb"))
attempt("pidfd_getfd", lambda: system_call(438, 0, 0, 0))
attempt("kcmp", lambda: system_call(312, 1, 1, 0, 0, 0))
done()
