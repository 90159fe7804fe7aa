from archives import ONNX_TOML, field, zipped


def build() -> bytes:
    location = field(1, "location") + field(2, "../../../../etc/passwd")
    weights = field(8, "weights") + field(13, location) + b"\x70\x01"
    return zipped({"defense.toml": ONNX_TOML, "model.onnx": b"\x08\x08" + field(7, field(5, weights))})
