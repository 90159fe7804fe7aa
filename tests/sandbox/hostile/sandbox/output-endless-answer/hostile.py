import os

line = b"z" * (1 << 16)
while True:
    os.write(1, line)
