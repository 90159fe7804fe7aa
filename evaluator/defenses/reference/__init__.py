"""Reference entries: defenses that only look robust, as submissions; the evaluator must see through them."""
