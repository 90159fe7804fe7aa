from archives import tarred


def build() -> bytes:
    return tarred([("é.py".encode(), "1", b"0"), ("e\u0301.py".encode(), "2", b"0")])
