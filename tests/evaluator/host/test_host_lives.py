"""A host that shares its machine with others cannot kill everything around it: it says so, and is started afresh instead."""

from __future__ import annotations

from pathlib import Path

import torch
from hosts import SMALL_NET, X, hosted, write_submission

from evaluator.host.footprint import alone
from evaluator.host.proxy import Channel


def test_a_host_without_a_sandbox_of_its_own_gives_no_second_life_and_answers_on(tmp_path: Path) -> None:
    assert not alone(), "nobody may kill what else runs here"
    with hosted(write_submission(tmp_path, SMALL_NET)) as model:
        before, channel = model(X), model._channel
        assert isinstance(channel, Channel)
        assert channel.load() is False
        assert torch.equal(model(X), before)
