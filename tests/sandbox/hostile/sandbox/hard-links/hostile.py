import os

from attempts import attempt, done

attempt("its input", lambda: os.link("/case/attempts.py", "/tmp/mine"))
attempt("a file of the system", lambda: os.link("/usr/bin/id", "/tmp/id"))
attempt("among its inputs", lambda: os.link("/case/attempts.py", "/case/again"))
open_file = os.open("/usr/bin/id", os.O_RDONLY)
attempt("a descriptor", lambda: os.link(f"/proc/self/fd/{open_file}", "/tmp/fd", follow_symlinks=True))
done()
