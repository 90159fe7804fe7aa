from archives import tarred


def build() -> bytes:
    return tarred([(b"sparse", "x", b"S")])
