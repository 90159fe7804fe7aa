from frames import frame, serve

serve(vjp=lambda asked, shape: frame("expired"))
