"""A receipt names the code that judged, and receipts from before it did are still good."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from reports import report

import evaluator
from evaluator.records import receipt
from evaluator.records.identity import JUDGING, source_digest
from evaluator.records.report import Report

PACKAGE = Path(evaluator.__file__).parent
TELL = "from evaluator.records.identity import source_digest; print(source_digest())"


def with_code(**code: object) -> Report:
    made = report()
    return made.model_copy(update={"environment": made.environment.model_copy(update=code)})


def digest_of(copy: Path) -> str:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(copy.parent)!r}); {TELL}"]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout.strip()


def test_the_digest_changes_with_any_line_of_the_source_and_with_nothing_else(tmp_path: Path) -> None:
    copy = tmp_path / "evaluator"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"))
    assert digest_of(copy) == source_digest()
    (copy / "notes.txt").write_text("no code")
    assert digest_of(copy) == source_digest()
    with (copy / "attacks" / "base.py").open("a") as source:
        source.write("# a comment")
    assert digest_of(copy) != source_digest()


def test_a_receipt_from_before_it_named_its_code_is_still_valid(tmp_path: Path) -> None:
    """The bytes that were signed then held neither field."""
    old = report()
    assert (old.environment.source, old.environment.judging) == ("", 0)
    assert b"judging" not in receipt.canonical(old)
    signed = receipt.sign(old, receipt.load_key(tmp_path / "key.pem"))
    assert receipt.verify(signed)
    assert "source unknown" in receipt.other_code(old.environment)
    assert "judging unknown" in receipt.other_code(old.environment)


@pytest.mark.parametrize("change", [{"source": "f" * 64}, {"judging": JUDGING + 1}, {"source": "", "judging": 0}], ids=str)
def test_the_code_that_a_receipt_names_cannot_be_changed(tmp_path: Path, change: dict[str, object]) -> None:
    from evaluator.errors import InputError

    signed = receipt.sign(with_code(source=source_digest(), judging=JUDGING), receipt.load_key(tmp_path / "key.pem"))
    altered = signed.model_copy(update={"environment": signed.environment.model_copy(update=change)})
    with pytest.raises(InputError, match="does not fit"):
        receipt.verify(altered)


def test_other_code_is_named_with_whether_it_judges_alike() -> None:
    same = with_code(source=source_digest(), judging=JUDGING).environment
    assert receipt.other_code(same) == ""
    alike = receipt.other_code(with_code(source="f" * 64, judging=JUDGING).environment)
    assert f"source {'f' * 12}; here " in alike
    assert f", source {source_digest()[:12]})" in alike
    assert "judges alike" in alike
    otherwise = receipt.other_code(with_code(source="f" * 64, judging=JUDGING + 1).environment)
    assert f"may judge otherwise (judging {JUDGING + 1}; here {JUDGING})" in otherwise


def test_the_packages_say_that_they_are_typed() -> None:
    import arena
    import sandbox

    for package in (evaluator, sandbox, arena):
        assert (Path(str(package.__path__[0])) / "py.typed").is_file()
