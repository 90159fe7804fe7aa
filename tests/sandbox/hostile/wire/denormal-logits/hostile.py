from frames import gradient, logits, serve

serve(forward=lambda asked: logits(asked.rows, 1e-44), vjp=lambda asked, shape: gradient(shape, 1e-44))
