from frames import frame, serve_attack

serve_attack(frame("labels"))
