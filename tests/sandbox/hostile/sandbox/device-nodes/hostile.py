import os
import stat

from attempts import attempt, done

for name, kind, number in (("mem", stat.S_IFCHR, (1, 1)), ("disk", stat.S_IFBLK, (8, 0)), ("vda", stat.S_IFBLK, (254, 0))):
    for folder in ("/tmp", "/dev", "/dev/shm"):
        attempt(f"{folder}/{name}", lambda f=folder, n=name, k=kind, d=number: os.mknod(f"{f}/{n}", k | 0o666, os.makedev(*d)))
done()
