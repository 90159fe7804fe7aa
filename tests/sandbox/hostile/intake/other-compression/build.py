import zipfile

from archives import CODE, zipped


def build() -> bytes:
    return zipped(CODE, method=zipfile.ZIP_LZMA)
