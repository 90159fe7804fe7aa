from archives import CODE, zipped


def build() -> bytes:
    return zipped({**CODE, "arrays.npz": zipped({"a.npy": b"\x93NUMPY" + bytes(1 << 29)})})
