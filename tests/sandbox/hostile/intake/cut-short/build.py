from archives import CODE, zipped


def build() -> bytes:
    return zipped(CODE)[:-30]
