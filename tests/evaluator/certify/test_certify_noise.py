"""What each noise charges and bounds, to the last term."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evaluator.certify.noise import Gaussian, Noise, QuantizedGaussian, UniformBall


@pytest.mark.parametrize("noise", [Gaussian(0.25), UniformBall(0.25), QuantizedGaussian(0.25)])
def test_no_radius_asks_for_more_than_certainty(noise: Noise) -> None:
    assert float(noise.threshold(100.0, 784)) == 1.0


def test_the_table_of_quantized_noise_runs_from_nothing_to_certainty() -> None:
    table = QuantizedGaussian(0.25).table()
    assert len(table) == 2 * (542 + 1)  # 8.5 * 255 * 0.25 = 541.9
    assert (table[0], table[-1]) == (0.0, 2.0**53)
    assert bool((np.diff(table) >= 0).all())


def test_only_quantized_noise_charges_for_its_table() -> None:
    quantized, gaussian = QuantizedGaussian(0.25), Gaussian(0.25)
    assert (gaussian.slack(784), UniformBall(0.25).slack(784)) == (0.0, 0.0)
    assert quantized.slack(784) == 784 * 1087 * 2.0**-50
    charged = float(quantized.threshold(0.25, 784)) - float(gaussian.threshold(0.25, 784))
    assert charged == pytest.approx(quantized.slack(784), rel=1e-3)


def test_every_8_bit_value_is_taken() -> None:
    QuantizedGaussian(0.25).check(torch.arange(256).reshape(1, -1) / 255)
