from archives import CODE, zipped


def build() -> bytes:
    return zipped({**CODE, "attack.toml": 'name = "x"\nformat = "python"\nentry = "defense.py"\n'})
