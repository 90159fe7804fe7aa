import sys

hoard = []
try:
    while True:
        hoard.append(bytearray(b"x" * (1 << 20)))
except MemoryError:
    sys.exit(42)
