"""A receipt proves who measured what, and nobody can change a bit of it unseen."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from reports import report

from evaluator.errors import InputError
from evaluator.records import receipt


def test_a_signed_report_survives_the_file_and_names_its_signer(tmp_path: Path) -> None:
    key = receipt.load_key(tmp_path / "key.pem")
    signed = receipt.sign(report(), key)
    (tmp_path / "r.json").write_text(signed.model_dump_json(indent=1))
    back = receipt.read(tmp_path / "r.json")
    assert back == signed
    assert receipt.verify(back) == signed.receipt["public_key"]  # type: ignore[index]


@pytest.mark.parametrize(
    "change",
    [
        {"robust_accuracy": 0.75},
        {"robust_bits": [1, 1, 1, 0]},
        {"seed": 7},
        {"flags": [], "verified": False},
        {"submission": "X"},
    ],
    ids=str,
)
def test_any_change_breaks_the_signature(tmp_path: Path, change: dict[str, object]) -> None:
    signed = receipt.sign(report(), receipt.load_key(tmp_path / "key.pem"))
    with pytest.raises(InputError, match="does not fit"):
        receipt.verify(signed.model_copy(update=change))


def test_another_signer_is_refused_where_one_is_expected(tmp_path: Path) -> None:
    signed = receipt.sign(report(), receipt.load_key(tmp_path / "theirs.pem"))
    expected = receipt.sign(report(), receipt.load_key(tmp_path / "ours.pem")).receipt["public_key"]  # type: ignore[index]
    with pytest.raises(InputError, match="not by the expected key"):
        receipt.verify(signed, trusted=expected)


def test_the_key_is_private_and_made_once(tmp_path: Path) -> None:
    assert receipt.load_key(tmp_path / "new" / "deeper" / "key.pem")
    first = receipt.load_key(tmp_path / "deep" / "key.pem")
    again = receipt.load_key(tmp_path / "deep" / "key.pem")
    assert first.private_bytes_raw() == again.private_bytes_raw()
    assert stat.S_IMODE((tmp_path / "deep" / "key.pem").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["key.pem"]


def test_a_file_that_is_no_report_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"schema_version": 2}')
    with pytest.raises(InputError, match="not a report of schema 1"):
        receipt.read(tmp_path / "x.json")
    with pytest.raises(InputError, match="no such file"):
        receipt.read(tmp_path / "absent.json")
    (tmp_path / "key.pem").write_text("not a key")
    with pytest.raises(InputError, match="not a PEM"):
        receipt.load_key(tmp_path / "key.pem")
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(Ed448PrivateKey.generate().private_bytes(*pem))
    with pytest.raises(InputError, match="not an Ed25519 key"):
        receipt.load_key(tmp_path / "key.pem")


def test_the_first_fault_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(report().model_dump(mode="json") | {"seed": "x", "verified": "x"}))
    with pytest.raises(InputError, match="verified: Input"):
        receipt.read(tmp_path / "x.json")


def test_a_report_without_a_receipt_is_not_verified() -> None:
    with pytest.raises(InputError, match="carries no receipt"):
        receipt.verify(report())


def test_what_is_signed_does_not_depend_on_the_order_of_the_fields() -> None:
    signed = receipt.canonical(report())
    assert signed == json.dumps(json.loads(signed), sort_keys=True, separators=(",", ":")).encode()


def test_a_replay_is_compared_in_everything_but_time_and_place() -> None:
    slower = report(seconds=9.0)
    assert receipt.compare(report(), slower) == []
    assert [d.field for d in receipt.compare(report(), report(robust_bits=[1, 0, 0, 0]))] == ["robust_bits"]
    assert report().attacks, "the test needs an attack's record"
    later = [record.model_copy(update={"seconds": record.seconds + 1}) for record in report().attacks]
    assert receipt.compare(report(), report(attacks=later)) == []
    dearer = [record.model_copy(update={"forward_rows": record.forward_rows + 1}) for record in report().attacks]
    assert [d.field for d in receipt.compare(report(), report(attacks=dearer))] == ["attacks"]
    proof = {
        "method": "ibp", "parameters": {}, "classifier": "itself", "norm": "linf", "epsilon": 0.3, "accuracy": 0.5,
        "average_radius": 0.1, "bits": [1, 0, 0, 1], "undecided": 2, "refuted": [], "expected_false": 0.0, "samples": 8,
    }  # fmt: skip
    first, again, other = (
        report(certificate=proof | changes) for changes in ({"seconds": 1.0}, {"seconds": 2.0}, {"seconds": 1.0, "samples": 9})
    )
    assert receipt.compare(first, again) == []
    assert [d.field for d in receipt.compare(first, other)] == ["certificate"]


def test_a_difference_is_shown_in_at_most_sixty_characters() -> None:
    fits, longer = "x" * 58, "x" * 59  # two quotes besides
    (shown,) = receipt.compare(report(submission=fits), report(submission=longer))
    assert shown.original == f'"{fits}"'
    assert shown.replayed == f'"{"x" * 56}...'
