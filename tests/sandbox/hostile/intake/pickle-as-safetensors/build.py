import pickle

from archives import WEIGHTS_TOML, Command, zipped


def build() -> bytes:
    return zipped({"defense.toml": WEIGHTS_TOML, "weights.safetensors": pickle.dumps(Command())})
