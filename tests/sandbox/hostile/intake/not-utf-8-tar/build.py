from archives import tarred


def build() -> bytes:
    return tarred([(b"a\xff\xfe.py", "x", b"0")])
