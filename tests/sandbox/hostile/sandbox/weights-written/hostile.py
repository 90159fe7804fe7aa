import os

from attempts import attempt, done

weights = "/case/attempts.py"
attempt("write", lambda: open(weights, "r+b"))
attempt("append", lambda: open(weights, "ab"))
attempt("truncate", lambda: os.truncate(weights, 0))
attempt("delete", lambda: os.remove(weights))
attempt("rename", lambda: os.rename(weights, "/case/other"))
attempt("chmod", lambda: os.chmod(weights, 0o777))
attempt("touch", lambda: os.utime(weights))
attempt("extended attribute", lambda: os.setxattr(weights, "user.x", b"x"))
attempt("through its descriptor", lambda: open(f"/proc/self/fd/{os.open(weights, os.O_RDONLY)}", "r+b"))
done()
