import glob

from attempts import BAIT, attempt, done, escaped

SECRET = f"{BAIT['folder']}/secret"
ACCOUNTS = ("/etc/shadow", "/etc/passwd", "/etc/machine-id", "/root/.bashrc", "/var/log/dpkg.log")
KERNEL = ("/proc/kcore", "/proc/kmsg", "/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda")


def first(path: str) -> int:
    """Its first byte: a hidden file is there and empty."""
    with open(path, "rb") as file:
        return ord(file.read(1) or int("it is empty"))


for path in (*ACCOUNTS, SECRET, f"/proc/self/root{SECRET}", f"/proc/1/root{SECRET}", *KERNEL):
    attempt(path, lambda path=path: first(path))
for folder in ("/root", "/home", "/var", "/srv", "/opt", "/mnt", "/media", "/boot", "/usr/local"):
    if glob.glob(f"{folder}/*"):
        escaped(f"{folder} is there")
done()
