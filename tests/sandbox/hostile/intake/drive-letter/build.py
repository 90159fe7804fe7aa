from archives import zip_with


def build() -> bytes:
    return zip_with(("C:/hostile.py", "x"))
