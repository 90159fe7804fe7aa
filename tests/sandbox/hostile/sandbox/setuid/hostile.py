import os
import shutil
import subprocess

from attempts import attempt, done, escaped

attempt("setuid 0", lambda: os.setuid(0))
attempt("setgid 0", lambda: os.setgid(0))
attempt("setgroups", lambda: os.setgroups([0]))
shutil.copyfile("/usr/bin/id", "/tmp/id")
os.chmod("/tmp/id", 0o6755)
for command in ("/tmp/id -u", "/usr/bin/setpriv --reuid 0 id -u", "/usr/bin/su -c id", "/usr/bin/sudo -n id -u"):
    try:
        told = subprocess.run(command.split(), stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False).stdout
    except OSError:
        continue
    if told.strip() == b"0" or b"uid=0" in told:
        escaped(f"root by {command}")
done()
