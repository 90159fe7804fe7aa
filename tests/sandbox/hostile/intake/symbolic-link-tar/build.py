from archives import tarred


def build() -> bytes:
    return tarred([(b"lib", "/tmp", b"2"), (b"lib/hostile.py", "x", b"0")])
