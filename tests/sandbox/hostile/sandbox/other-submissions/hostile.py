import os

from attempts import BAIT, attempt, done

other = f"{BAIT['folder']}/submissions/other/weights.safetensors"
attempt("by its path", lambda: open(other).read())
attempt("through its own folder", lambda: open(f"/case/../../..{other}").read())
attempt("through the first process", lambda: open(f"/proc/1/root{other}").read())
attempt("through its working folder", lambda: open(f"/proc/1/cwd{other}").read())
for pid in {BAIT["evaluator"], BAIT["victim"]} - {os.getpid()}:
    attempt("through the worker", lambda pid=pid: open(f"/proc/{pid}/root{other}").read())
done()
