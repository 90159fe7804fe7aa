import random

from archives import CODE, CODE_TOML, zipped


def build() -> bytes:
    draw = random.Random(0)
    lines = (f"# {draw.getrandbits(400):0100x}{'x' * 900}" for _ in range(100_000))
    return zipped({**CODE, "defense.toml": CODE_TOML + chr(10).join(lines)})
