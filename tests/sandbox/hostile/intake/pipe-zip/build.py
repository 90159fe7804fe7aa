import stat

from archives import zip_with


def build() -> bytes:
    return zip_with(("pipe", ""), mode=stat.S_IFIFO | 0o666)
