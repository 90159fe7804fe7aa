import os

from attempts import attempt, done

attempt("a folder for compiled code", lambda: os.mkdir("/case/__pycache__"))
attempt("a module", lambda: open("/case/json.py", "w"))
attempt("a module of the system", lambda: open("/usr/lib/python3/dist-packages/x.py", "w"))
attempt("a program", lambda: open("/usr/bin/id", "ab"))
attempt("a library for everybody", lambda: open("/etc/ld.so.preload", "w"))
done()
