import pickle

from archives import CODE, Command, zipped


def build() -> bytes:
    return zipped({**CODE, "weights.bin": zipped({"archive/data.pkl": pickle.dumps(Command())})})
