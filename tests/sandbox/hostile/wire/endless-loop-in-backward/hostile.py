from frames import busy, serve

serve(vjp=lambda asked, shape: busy())
