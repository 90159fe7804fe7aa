from frames import busy, serve

serve(load=lambda asked: busy())
