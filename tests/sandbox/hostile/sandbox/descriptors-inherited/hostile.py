import os

from attempts import BAIT, attempt, done, escaped

for number in range(3, 64):
    try:
        target = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        continue
    if not target.startswith("/proc"):
        escaped(f"descriptor {number} is {target}")
for number in range(3):
    attempt(f"walk up from {number}", lambda number=number: os.open("../../.." + BAIT["folder"], os.O_RDONLY, dir_fd=number))
    attempt(f"the pipe's folder of {number}", lambda number=number: os.listdir(f"/proc/self/fd/{number}/.."))
done()
