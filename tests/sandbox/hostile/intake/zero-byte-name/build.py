from archives import zip_with


def build() -> bytes:
    return zip_with(("aaaaaaa.py", "x")).replace(b"aaaaaaa.py", b"a.py\0aa.py")
