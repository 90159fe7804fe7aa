import os

from attempts import attempt, done

os.mkdir("/tmp/root")
attempt("chroot", lambda: os.chroot("/tmp/root"))
for _ in range(64):
    os.chdir("..")
attempt("another root", lambda: open("etc/shadow"))
done()
