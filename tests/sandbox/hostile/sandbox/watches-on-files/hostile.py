import fcntl
import os
from functools import partial

from attempts import attempt, done, system_call

attempt("inotify", lambda: system_call(294, 0))
attempt("inotify of old", lambda: system_call(253))
attempt("fanotify", lambda: system_call(300, 0, 0))
for place in ("/usr", "/case", "/tmp"):
    folder = os.open(place, os.O_RDONLY)
    attempt(f"dnotify on {place}", partial(fcntl.fcntl, folder, fcntl.F_NOTIFY, fcntl.DN_ACCESS | fcntl.DN_MULTISHOT))
done()
