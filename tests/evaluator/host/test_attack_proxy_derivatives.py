"""What torch may ask of a network and a model elsewhere cannot answer is refused by name; nothing is silently zero."""

from __future__ import annotations

from pathlib import Path

import derivative_cases
import pytest
import torch
from attack_hosts import Game, hosted_attack, net, write_attack
from hosts import SMALL_NET, hosted, write_submission

from evaluator.host.first_order import FirstOrderOnly

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def test_an_attack_s_model_answers_first_order_and_refuses_the_rest_in_one_sentence() -> None:
    Game(seconds=600).play(derivative_cases.attack)


def test_the_same_holds_in_a_process_of_its_own(tmp_path: Path) -> None:
    code = Path(derivative_cases.__file__).read_text()
    with hosted_attack(write_attack(tmp_path, code)) as transport:
        Game(seconds=600).session(transport).run()


@pytest.mark.parametrize("name", list(derivative_cases.refusals(net(), torch.zeros(1, 1, 7, 7))))
def test_an_ordinary_network_does_answer_what_the_model_elsewhere_refuses(name: str) -> None:
    """The cases are real ones: each of them works on a network in this process."""
    network, x = net(), torch.rand(2, 1, 7, 7, generator=torch.Generator().manual_seed(0))
    ask, _ = derivative_cases.refusals(network, x)[name]
    if name not in ("pickle",):  # its class was made by exec
        ask()


def test_the_scorer_s_own_view_of_a_sandboxed_model_refuses_second_and_forward_derivatives_too(tmp_path: Path) -> None:
    with hosted(write_submission(tmp_path, SMALL_NET)) as model:
        x = torch.rand(2, 1, 7, 7, generator=torch.Generator().manual_seed(0))
        cases = derivative_cases.refusals(model, x)
        for name in ("hvp", "vhp", "jvp", "double backward", "forward_ad", "func.grad", "vmap", "trace", "script"):
            with pytest.raises(FirstOrderOnly):
                cases[name][0]()
