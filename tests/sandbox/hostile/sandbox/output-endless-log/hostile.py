import os

line = b"z" * (1 << 16)
while True:
    os.write(2, line)
