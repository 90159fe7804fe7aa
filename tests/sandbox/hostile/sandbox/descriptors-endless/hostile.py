from attempts import done, escaped

held = []
try:
    while len(held) < 5000:
        held.append(open("/dev/null"))
except OSError:
    pass
if len(held) > 64:
    escaped(f"{len(held)} open files where 64 are allowed")
done()
