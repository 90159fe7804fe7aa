import os

from attempts import done, escaped

for folder, below, _ in os.walk("/"):
    if folder in ("/proc", "/tmp", "/dev/shm", "/dev/mqueue") or folder.count("/") > 3:
        below.clear()
        continue
    try:
        with open(f"{folder}/hostile", "w"):
            escaped(f"a file in {folder}")
    except OSError:
        pass
done()
