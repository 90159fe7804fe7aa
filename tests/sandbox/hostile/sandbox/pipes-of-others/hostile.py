import glob
import os

from attempts import attempt, done

for path in (*glob.glob("/run/*/*"), *glob.glob("/run/*")):
    attempt(f"{path}: replace it", lambda path=path: os.rename(path, path + "x"))
    attempt(f"{path}: remove it", lambda path=path: os.remove(path))
attempt("the launcher's folder", lambda: open("/run/x", "w"))
done()
