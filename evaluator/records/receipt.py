"""Receipts: a report signed with Ed25519, and the checks anybody can make of one. Torch-free.

The signature covers the report's canonical JSON (sorted keys, no spaces, without the receipt itself). So a receipt
names everything that determined the result: digests, seed, versions, hardware, meters and every bit.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError

from evaluator import __version__
from evaluator.errors import InputError
from evaluator.records.identity import JUDGING, source_digest
from evaluator.records.report import SCHEMA_VERSION, Environment, Report

LATER = ("unbroken_bits", "targets", "queries")  # fields of a report that reports once had not
_RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw


def canonical(report: Report) -> bytes:
    """The bytes that are signed. A field that reports once had not is left out where it says nothing, as it was when they were
    signed."""
    table = report.model_dump(mode="json", exclude={"receipt"})
    for name in ("source", "judging"):
        if not table["environment"][name]:
            del table["environment"][name]
    for name in LATER:
        if not table[name]:
            del table[name]
    return json.dumps(table, sort_keys=True, separators=(",", ":")).encode()


def other_code(environment: Environment) -> str:
    """How the code that judged differs from this one, as a clause; "" where it is the same."""
    if environment.source == source_digest():
        return ""
    then = f"version {environment.evaluator}, source {environment.source[:12] or 'unknown'}"
    words = f"judged by other code ({then}; here {__version__}, source {source_digest()[:12]})"
    if environment.judging != JUDGING:
        return f"{words}, which may judge otherwise (judging {environment.judging or 'unknown'}; here {JUDGING})"
    return f"{words}, which judges alike (judging {JUDGING})"


def load_key(path: Path) -> Ed25519PrivateKey:
    """The signing key at `path` (PEM, mode 0600), made on first use. Raises InputError when the file is something else."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(pem)
        try:
            os.link(temporary, path)  # the first of several starters wins; the others read its key
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise InputError("is not a PEM private key.", where=str(path), help="Move it away; a new one will be made.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("is not an Ed25519 key.", where=str(path), help="Move it away; a new one will be made.")
    return key


def sign(report: Report, key: Ed25519PrivateKey) -> Report:
    """The report with its receipt attached."""
    payload = canonical(report)
    receipt = {
        "schema": SCHEMA_VERSION,
        "algorithm": "ed25519",
        "report_sha256": hashlib.sha256(payload).hexdigest(),
        "public_key": key.public_key().public_bytes(*_RAW).hex(),
        "signature": key.sign(payload).hex(),
    }
    return report.model_copy(update={"receipt": receipt})


def read(path: Path) -> Report:
    """Parses a report or receipt file. Raises InputError."""
    try:
        return Report.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError("there is no such file.", where=str(path)) from error
    except ValidationError as error:
        first = error.errors()[0]
        what = f"is not a report of schema {SCHEMA_VERSION}: {'.'.join(map(str, first['loc']))}: {first['msg']}."
        raise InputError(
            what, where=str(path), help="Use the JSON that `redoubt evaluate --json` or the site wrote."
        ) from error


def verify(report: Report, *, trusted: str | None = None) -> str:
    """Checks the signature; returns the signer's public key (hex). trusted: the only key accepted, if given.

    Raises InputError when there is no receipt, it does not fit the report, or it was signed by another key.
    """
    receipt = report.receipt
    if receipt is None:
        raise InputError("the report carries no receipt.", help="Only finished official evaluations are signed.")
    public = str(receipt.get("public_key", ""))
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(
            bytes.fromhex(str(receipt.get("signature", ""))), canonical(report)
        )
    except (InvalidSignature, ValueError) as error:
        raise InputError(
            "the signature does not fit the report.", help="It was altered after signing, or badly copied."
        ) from error
    if trusted is not None and public != trusted:
        raise InputError(f"it was signed by {public[:16]}…, not by the expected key {trusted[:16]}….")
    return public


@dataclass(frozen=True)
class Difference:
    """One field in which a replay differs from the original."""

    field: str
    original: str
    replayed: str


# What a replay may change: time, and where it ran; a difference in any other field is a different result.
_EXPECTED = {"seconds", "environment", "receipt", "checks"}  # of the checks, what fired is compared: `flags`


def compare(original: Report, replayed: Report) -> list[Difference]:
    """Fields that differ, timings, environment and the checks' drawings apart. Empty means: reproduced bit for bit."""
    a, b = (r.model_dump(mode="json", exclude=_EXPECTED) for r in (original, replayed))
    for table in (a, b):
        table["attacks"] = [{k: v for k, v in record.items() if k != "seconds"} for record in table["attacks"]]
        (table["certificate"] or {}).pop("seconds", None)
    return [Difference(name, _short(a[name]), _short(b[name])) for name in a if a[name] != b[name]]


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
