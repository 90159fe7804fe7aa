import stat

from archives import zip_with


def build() -> bytes:
    return zip_with(("weights", "/etc/passwd"), mode=stat.S_IFLNK | 0o777)
