import struct

from frames import serve

serve(load=lambda asked: struct.pack("<Q", 1 << 30) + bytes(1 << 20))
