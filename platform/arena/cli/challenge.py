"""`redoubt challenge freeze`, `redoubt data`: an organiser's own images, pinned by their digests, and given to participants."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from evaluator.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Make and check challenge packs.")


@app.command("freeze")
def freeze(pack: Annotated[Path, typer.Argument(help="The pack's folder.", show_default=False)]) -> None:
    """Read and check a pack's own images, and write their digests into challenge.toml."""
    from evaluator.data import own
    from evaluator.manifests.challenge_packs import MANIFEST, read_manifest

    folder = pack.resolve()
    data = read_manifest(folder).data
    if data.dataset != "files":
        raise InputError(f'ranks on "{data.dataset}", whose files are pinned already.', where=f"{pack}/{MANIFEST}")
    file = folder / MANIFEST
    text = file.read_text(encoding="utf-8-sig")
    for path, name in ((data.path, "digest"), (data.train, "train_digest")):
        if path is None:
            continue
        images = own.read(data, folder, path)
        lines = own.listing(folder, path)
        (folder / f"{path}.sha256").write_text(lines)
        text = _with_field(text, name, own.digest_of(lines))
        print(f"{path}: {len(images.labels):,} images in {len(data.classes)} classes, frozen.")
    file.write_text(text)
    own.open_pack(folder)


def data(
    pack: Annotated[str, typer.Argument(help="A pack's name or folder.", show_default=False)],
    to: Annotated[Path, typer.Option("--to", help="The folder to write x.npy, y.npy and classes.txt to.")] = Path("data"),
    train: Annotated[bool, typer.Option(help="The images for training instead of those that rank.")] = False,
) -> None:
    """Write a challenge's images as arrays: x.npy (n, C, H, W) float32 in [0, 1], y.npy (n,) int64, and the classes."""
    import numpy as np

    from evaluator.data.own import open_pack
    from evaluator.data.tensors import examples, training

    spec = open_pack(pack).challenge.data
    given = training(spec) if train else examples(spec)
    to.mkdir(parents=True, exist_ok=True)
    np.save(to / "x.npy", given.x.numpy())
    np.save(to / "y.npy", given.y.numpy())
    (to / "classes.txt").write_text("".join(f"{name}\n" for name in spec.class_names))
    print(f"{len(given):,} images: {to / 'x.npy'}, {to / 'y.npy'}, {to / 'classes.txt'}")


def _with_field(text: str, name: str, value: str) -> str:
    """The manifest's text with this field in its table [data]. Raises InputError where there is no such table."""
    found = re.search(r"^\[data\][^\n]*\n(?:(?!\[).*(?:\n|\Z))*", text, re.MULTILINE)
    if found is None:
        raise InputError("has no table [data].", where="challenge.toml", help="Write the data's fields below a line [data].")
    table = re.sub(rf"^{name}\s*=.*\n?", "", found[0], flags=re.MULTILINE).rstrip("\n")
    return f'{text[: found.start()]}{table}\n{name} = "{value}"\n\n{text[found.end() :]}'.rstrip("\n") + "\n"
