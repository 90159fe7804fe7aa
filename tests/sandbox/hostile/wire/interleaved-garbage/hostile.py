from frames import logits, serve

serve(forward=lambda asked: logits(asked.rows) + b"\xde\xad\xbe\xef" * 4)
