import struct

from frames import serve

serve(forward=lambda asked: struct.pack("<Q", 1 << 62))
