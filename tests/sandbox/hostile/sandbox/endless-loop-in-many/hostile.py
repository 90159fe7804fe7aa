import os

for _ in range(12):
    if os.fork() == 0:
        break
while True:
    pass
