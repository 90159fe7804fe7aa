from archives import CODE, zipped


def build() -> bytes:
    data = bytearray(zipped(CODE))
    end = data.rfind(b"PK\x05\x06")
    data[end + 8 : end + 12] = b"\xff\xee\xff\xee"
    return bytes(data)
