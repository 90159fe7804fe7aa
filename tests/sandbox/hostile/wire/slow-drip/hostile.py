from frames import drip, logits, serve

serve(forward=lambda asked: drip(logits(asked.rows), 60.0))
