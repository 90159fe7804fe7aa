from archives import zip_with


def build() -> bytes:
    return zip_with(("aaaa.py", "x")).replace(b"aaaa.py", b"a\xff\xfea.py")
