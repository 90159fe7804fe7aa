from frames import busy, serve

serve(forward=lambda asked: busy())
