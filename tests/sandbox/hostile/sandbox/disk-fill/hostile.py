import os

from attempts import done, escaped

written = 0
try:
    for number in range(64):
        with open(f"/tmp/{number}", "wb", buffering=0) as file:
            while (part := file.write(bytes(1 << 20))) and file.tell() < 16 << 20:
                written += part
except OSError:
    pass
if written > 8 << 20:
    escaped(f"{written >> 20} MiB where 8 are allowed")
for number in range(64):
    if os.path.exists(f"/tmp/{number}"):
        os.remove(f"/tmp/{number}")
done()
