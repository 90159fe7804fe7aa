import os

from attempts import BAIT, attempt, done

for target in ("/etc/shadow", BAIT["folder"], f"{BAIT['folder']}/secret", f"/proc/{BAIT['evaluator']}/root"):
    link = f"/tmp/{len(os.listdir('/tmp'))}"
    os.symlink(target, link)
    attempt(f"follow a link to {target}", lambda link=link: os.listdir(link) if os.path.isdir(link) else open(link).read())
    attempt(f"write through a link to {target}", lambda link=link: open(f"{link}/open/x", "w"))
attempt("a link among its inputs", lambda: os.symlink("/etc/shadow", "/case/link"))
done()
