from archives import CODE, zipped


def build() -> bytes:
    return zipped({**CODE, **{f"{number}.txt": "" for number in range(10_000)}})
