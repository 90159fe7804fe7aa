from archives import tarred


def build() -> bytes:
    return tarred([(b"lib", "1", b"0"), (b"lib/x.py", "2", b"0")])
