import pickle

from archives import CODE, Command, zipped


def build() -> bytes:
    return zipped({**CODE, "weights.pkl": pickle.dumps(Command())})
