from frames import gradient, serve

serve(vjp=lambda asked, shape: gradient([shape[0] + 1, *shape[1:]]))
