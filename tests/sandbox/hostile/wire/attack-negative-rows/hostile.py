from frames import frame, serve_attack

serve_attack(frame("forward", {"x": ("F32", [-4, 1, 8, 8], bytes(1024))}))
