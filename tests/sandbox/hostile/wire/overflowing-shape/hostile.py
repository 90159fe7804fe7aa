from frames import floats, frame, serve

serve(forward=lambda asked: frame("logits", {"logits": ("F32", [1 << 62, 160], floats(1, 40))}))
