import io

import numpy as np
from archives import CODE, Command, zipped


def build() -> bytes:
    arrays = io.BytesIO()
    np.savez(arrays, weights=np.array([Command()], dtype=object))
    return zipped({**CODE, "arrays.npz": arrays.getvalue()})
