from frames import frame, serve_attack

serve_attack(frame("result", robust_bits="0000"))
