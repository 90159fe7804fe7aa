"""A weights-only defense, as far as it can be judged by its files' headers: it fits the images, and its weights fit it."""

from __future__ import annotations

from arena.submissions.intake import Inspection
from evaluator.errors import InputError
from evaluator.manifests.architecture_shapes import check_images, check_weights
from evaluator.manifests.spec import Challenge


def check_architecture(inspection: Inspection, challenge: Challenge) -> None:
    """Raises InputError where the manifest's architecture or its weights cannot be judged on the challenge's images."""
    manifest = inspection.manifest
    if inspection.kind != "defense" or manifest["format"] != "safetensors":
        return
    shape, architecture = challenge.data.image_shape, str(manifest["architecture"])
    try:
        check_images(architecture, (shape.channels, shape.height, shape.width), len(challenge.data.class_names))
    except InputError as error:
        raise InputError(error.what, where=f"defense.toml, {error.where}", help=error.help) from error
    check_weights(architecture, inspection.tensors or {}, where=str(manifest["weights"]))
