from archives import CODE, zipped


def build() -> bytes:
    return zipped({**CODE, "defense.toml": "a = " + "[" * 30_000})
