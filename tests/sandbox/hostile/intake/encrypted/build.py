from archives import CODE, zipped


def build() -> bytes:
    data = bytearray(zipped(CODE))
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := data.find(magic, place + 1)) >= 0:
            data[place + flags] |= 1
    return bytes(data)
