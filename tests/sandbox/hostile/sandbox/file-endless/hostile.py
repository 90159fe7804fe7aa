import signal

from attempts import done, escaped

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
written = 0
try:
    with open("/tmp/big", "wb", buffering=0) as file:
        while written < 32 << 20:
            written += file.write(bytes(1 << 20))
except OSError:
    pass
if written > 4 << 20:
    escaped(f"a file of {written >> 20} MiB where 4 are allowed")
done()
