from frames import raw, serve

serve(forward=lambda asked: raw(b"[" * 8000 + b"]" * 8000))
