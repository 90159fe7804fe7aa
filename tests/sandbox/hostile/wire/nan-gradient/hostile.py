from frames import gradient, serve

serve(vjp=lambda asked, shape: gradient(shape, float("nan")))
