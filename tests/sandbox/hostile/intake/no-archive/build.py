def build() -> bytes:
    return b"<html><script>alert(1)</script></html>"
