import glob
import os

from attempts import done, escaped, tell

if any("SECRET" in name or "REDOUBT" in name for name in os.environ):
    escaped("a secret in its own environment")
for path in glob.glob("/proc/[0-9]*/environ"):
    try:
        tell(open(path).read()[:2000])
    except OSError:
        pass
done()
