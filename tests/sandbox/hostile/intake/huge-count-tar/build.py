from archives import tarred


def build() -> bytes:
    return tarred([(b"%d.txt" % number, "", b"0") for number in range(10_000)])
