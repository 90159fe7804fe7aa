"""Whether this machine can do what its workers promise. Each check says in a sentence what does not work, or "".

Loaded by workers only; what needs torch is imported where it is needed.
"""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

from django.conf import settings

from arena.challenges.models import Challenge
from arena.jobs.sandboxes import configured_sandbox
from arena.jobs.stored_files import stored
from evaluator.errors import Cancelled
from sandbox import SandboxUnavailable
from sandbox.scratch import owned_folder

logger = logging.getLogger(__name__)
_SCRATCH_BYTES = 16 * 1024 * 1024
_ARCHIVES = 3  # how many of the newest stored archives are tried: one that is lost says nothing about the machine
_SANDBOX_SECONDS = 60.0  # for so long it is believed that a sandbox works which just did: asking it costs seconds
_answered = -_SANDBOX_SECONDS
_DEFENSE = """
import torch

def load(directory):
    return torch.nn.Flatten()
"""


def places() -> str:
    """The scratch folder and the storage of archives; quick."""
    return _scratch() or _storage()


def machine() -> str:
    """All that an evaluation needs but the data: places, the device, and a model that answers in the sandbox. Seconds."""
    return places() or _device() or _sandbox()


def data(challenge: Challenge) -> str:
    """The images that rank in this challenge."""
    from evaluator.data import examples

    try:
        examples(challenge.spec.data)
    except Exception as error:
        return f"The data of {challenge.slug} is not available here: {error}"
    return ""


def _scratch() -> str:
    try:
        with owned_folder("redoubt-check-") as folder:
            (folder / "bytes").write_bytes(bytes(_SCRATCH_BYTES))
            free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"Its temporary folder cannot be used: {error}"
    return "" if free > _SCRATCH_BYTES else f"Its temporary folder has {free >> 20} MiB left."


def _storage() -> str:
    error: Exception | None = None
    for storage, name in [(kind.storage, name) for kind in stored() for name in kind.names()[:_ARCHIVES]]:
        try:
            with storage.open(name, "rb") as archive:
                archive.read(1)
            return ""
        except Exception as unreadable:  # each storage has errors of its own
            error = unreadable
    return "" if error is None else f"None of the newest archives can be read from its storage: {error}"


def _device() -> str:
    if settings.REDOUBT_DEVICE == "cpu":
        return ""
    import torch

    try:
        torch.ones(1, device=settings.REDOUBT_DEVICE).sum().item()
    except Exception as error:
        return f"Its device {settings.REDOUBT_DEVICE} cannot compute: {error}"
    return ""


def _sandbox() -> str:
    global _answered
    sandbox = configured_sandbox()
    if not sandbox.capabilities().available:
        return ""  # either no entry with code is taken, or the workers wait for it already
    if time.monotonic() - _answered < _SANDBOX_SECONDS:
        return ""
    import torch

    from arena.running.lanes import Lane
    from evaluator.manifests.spec import DefenseManifest, LimitsSpec

    manifest = DefenseManifest(name="self-check", format="python", entry="defense.py")
    try:
        with owned_folder("redoubt-check-") as folder:
            folder.chmod(0o755)
            _write(folder / "defense.py")
            lane = Lane("host", folder, manifest, LimitsSpec(seconds=120), sandbox, 1)
            with lane.open(classes=4) as model:
                asked = torch.rand(2, 1, 2, 2)
                if not torch.equal(model(asked).detach(), asked.flatten(1)):
                    return "A model in its sandbox answers wrongly."
    except (Cancelled, SandboxUnavailable):
        return ""  # that passes by itself, and workers wait for it
    except Exception as error:
        logger.exception("the self-check of the sandbox failed")
        return f"A model in its sandbox does not answer: {error}"
    _answered = time.monotonic()
    return ""


def _write(file: Path) -> None:
    file.write_text(_DEFENSE)
    (file.parent / "defense.toml").write_text('name = "self-check"\nformat = "python"\nentry = "defense.py"\n')
    for each in file.parent.iterdir():
        each.chmod(0o644)
