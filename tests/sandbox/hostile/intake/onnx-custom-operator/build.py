from archives import ONNX_TOML, field, zipped


def build() -> bytes:
    node = field(1, "x") + field(2, "y") + field(4, "RunCommand") + field(7, "com.hostile")
    return zipped({"defense.toml": ONNX_TOML, "model.onnx": b"\x08\x08" + field(7, field(1, node))})
