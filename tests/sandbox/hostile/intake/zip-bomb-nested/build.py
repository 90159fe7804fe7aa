from archives import CODE, zipped


def build() -> bytes:
    return zipped({**CODE, "inner.zip": zipped({"zeros": bytes(1 << 24)})})
