from frames import frame, serve

serve(forward=lambda asked: frame("failed", reason="raised", detail="\x1b[2J\x07" * 1000))
