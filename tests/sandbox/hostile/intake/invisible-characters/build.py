from archives import zip_with


def build() -> bytes:
    return zip_with(("right\u202egnp.py", "x"))
