from archives import safetensors, tensor


def build() -> bytes:
    return safetensors({"a": tensor([1 << 20], 0, 4 << 20)}, b"x")
