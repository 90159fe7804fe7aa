import fcntl
import os
import struct
from functools import partial

from attempts import attempt, done

_OPEN_FILE_LOCK = 37  # F_OFD_SETLK
_WRITE, _READ = (struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0) for kind in (fcntl.F_WRLCK, fcntl.F_RDLCK))
for path in ("/usr/bin/id", "/case/attempts.py"):
    shared = os.open(path, os.O_RDONLY)
    attempt(f"flock {path}", partial(fcntl.flock, shared, fcntl.LOCK_EX | fcntl.LOCK_NB))
    attempt(f"lockf {path}", partial(fcntl.lockf, shared, fcntl.LOCK_SH | fcntl.LOCK_NB))
    attempt(f"locks of others on {path}", partial(fcntl.fcntl, shared, fcntl.F_GETLK, _WRITE))
    attempt(f"open file lock {path}", partial(fcntl.fcntl, shared, _OPEN_FILE_LOCK, _READ))
    attempt(f"lease {path}", partial(fcntl.fcntl, shared, fcntl.F_SETLEASE, fcntl.F_RDLCK))
done()
