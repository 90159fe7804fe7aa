import os

from attempts import BAIT, attempt, done, escaped

for pid in filter(str.isdigit, os.listdir("/proc")):
    command = open(f"/proc/{pid}/cmdline", "rb").read()
    if b"86400" in command or b"pytest" in command:
        escaped(f"process {pid} is visible: {command[:60]!r}")
if len(list(filter(str.isdigit, os.listdir("/proc")))) > 6:
    escaped("more processes than its own are visible")
attempt("environment of the victim", lambda: open(f"/proc/{BAIT['victim']}/environ").read())
done()
