from frames import floats, frame, serve

serve(forward=lambda asked: frame("logits", {"logits": ("F32", [], floats(1, 1))}))
