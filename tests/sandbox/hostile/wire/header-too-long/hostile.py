import struct

from frames import serve

serve(forward=lambda asked: struct.pack("<QQ", 64, 1 << 40) + bytes(56))
