from archives import zip_with


def build() -> bytes:
    return zip_with(("defense.py", "import os"))
