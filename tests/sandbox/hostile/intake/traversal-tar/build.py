from archives import tarred


def build() -> bytes:
    return tarred([(b"a/../../hostile.py", "x", b"0")])
