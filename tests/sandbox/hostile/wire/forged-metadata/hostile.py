from frames import raw, serve

serve(forward=lambda asked: raw(b'{"__metadata__":{"op":["logits"],"rows":4}}'))
