import struct

from archives import CODE, zipped


def build() -> bytes:
    data = bytearray(zipped({**CODE, "zeros": bytes(1 << 28)}))
    entry = data.rfind(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 10)
    return bytes(data)
