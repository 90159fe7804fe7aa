from frames import frame, serve

serve(forward=lambda asked: frame("failed", reason="platform", detail="the evaluator is out of order"))
