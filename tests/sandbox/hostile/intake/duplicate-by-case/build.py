from archives import zip_with


def build() -> bytes:
    return zip_with(("DEFENSE.py", "import os"))
