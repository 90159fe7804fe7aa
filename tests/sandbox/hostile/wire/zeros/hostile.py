from frames import serve

serve(forward=lambda asked: bytes(4096))
