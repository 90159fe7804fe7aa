"""A weights-only defense that cannot be judged is refused when it is entered, by its header alone, and costs no attempt."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest
from django.core.files.base import ContentFile

from arena.submissions.models import Submission
from arena.submissions.services import attempts_left, submit
from evaluator.errors import InputError
from tests.web.backend_support import MANIFEST, mnist_cnn_weights, person, small_challenge, team_of, zipped

pytestmark = pytest.mark.django_db


def weights(**changes: Any) -> bytes:
    """The weights of mnist-cnn with other tensors: name -> (dtype, shape), None to leave one out."""
    length = int.from_bytes(mnist_cnn_weights()[:8], "little")
    header = {name: (t["dtype"], t["shape"]) for name, t in json.loads(mnist_cnn_weights()[8 : 8 + length]).items()}
    header = {name: tensor for name, tensor in (header | changes).items() if tensor is not None}
    table, end = {}, 0
    for name, (dtype, shape) in header.items():
        begin, end = end, end + {"F16": 2, "F32": 4}[dtype] * math.prod(shape)
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(table).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(end)


def refused(manifest: str = MANIFEST, data: bytes | None = None, **pack: Any) -> str:
    """What is said to whoever enters it; nothing is kept of it."""
    user, challenge = person(), small_challenge(**pack)
    before = attempts_left(user=user, team=team_of(user), challenge=challenge)
    archive = ContentFile(zipped({"defense.toml": manifest, "weights.safetensors": data or weights()}), name="defense.zip")
    with pytest.raises(InputError) as caught:
        submit(user=user, team=team_of(user), challenge=challenge, archive=archive)
    assert not Submission.objects.exists()
    assert attempts_left(user=user, team=team_of(user), challenge=challenge) == before
    return str(caught.value)


def test_an_architecture_for_other_images_is_shown_those_that_fit() -> None:
    said = refused(dataset="cifar10")
    assert said.startswith(
        "defense.toml, architecture: mnist-cnn takes images of 1 x 28 x 28; this challenge's are 3 x 32 x 32."
    )
    assert "cifar-resnet8" in said
    assert "trades" not in said


def test_an_unknown_architecture_is_reported_the_nearest() -> None:
    assert "Nearest: mnist-cnn" in refused(MANIFEST.replace("mnist-cnn", "mnist-cn"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dense2.bias": None}, 'does not fit mnist-cnn: it lacks "dense2.bias"'),
        ({"extra": ("F32", [2])}, 'has unexpected "extra"'),
        ({"dense2.bias": ("F32", [11])}, 'tensor "dense2.bias" has shape [11]; mnist-cnn needs [10].'),
        ({"dense2.bias": ("F16", [10])}, 'tensor "dense2.bias" is F16; mnist-cnn needs F32.'),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name_shape_and_type(changes: dict[str, Any], words: str) -> None:
    assert words in refused(data=weights(**changes))
