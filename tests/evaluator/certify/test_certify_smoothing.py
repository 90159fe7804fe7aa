"""Randomized smoothing: error rates where the truth is known, agreement with the reference, and its preconditions."""

from __future__ import annotations

import math
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch import Tensor, nn

from evaluator.certify.aggregation import CertifiedCurve, certified_accuracy
from evaluator.certify.base import check_deterministic
from evaluator.certify.binomial import (
    clopper_pearson_lower,
    clopper_pearson_upper,
    log_evidence,
    sequence_lower,
    upper_tail,
)
from evaluator.certify.noise import Gaussian, QuantizedGaussian, UniformBall, block_draws, build_noise, normal
from evaluator.certify.simulation import BernoulliCounts, cohen_radii, read_log
from evaluator.certify.smoothing_cohen import smoothing_cohen
from evaluator.certify.smoothing_curve import run_curve, smoothing_curve
from evaluator.certify.smoothing_sequential import SequentialTest, smoothing_sequential
from evaluator.errors import InputError
from tests.evaluator.support import shared_data

RADII = [0.25 * i for i in range(1, 10)]
SIGMAS = (0.12, 0.25, 0.5, 1.0)


def allowed(trials: int, rate: float) -> int:
    """The most events that chance explains at one in a million."""
    return int(stats.binom.isf(1e-6, trials, rate))


def halfspace(direction: Tensor, offset: float) -> nn.Module:
    """A linear two-class model of flat images: class 1 where direction . x > offset; its smoothing is known exactly."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(direction.numel(), 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([-direction.reshape(-1), direction.reshape(-1)]))
        model[1].bias.copy_(torch.tensor([offset, -offset]))
    return model.eval()


def test_the_evidence_equals_the_integral_it_is_derived_from():
    for k, n, p0, prior in ((3, 5, 0.5, 0.5), (90, 100, 0.8, 0.5), (40, 40, 0.9, 1.0), (0, 7, 0.3, 2.0)):

        def integrand(t: float, k: int = k, n: int = n, p0: float = p0, prior: float = prior) -> float:
            weight = prior * (1 - t) ** (prior - 1)
            return weight * ((p0 + (1 - p0) * t) / p0) ** k * (1 - t) ** (n - k)

        direct, _ = integrate.quad(integrand, 0, 1)
        assert float(log_evidence(k, n, p0, prior=prior)) == pytest.approx(np.log(direct), abs=1e-6)


def test_the_evidence_is_a_martingale_at_the_threshold_and_shrinks_below_it():
    for k, n, p0 in ((0, 0, 0.7), (9, 10, 0.7), (50, 80, 0.55)):
        now = np.exp(log_evidence(k, n, p0))
        hit, miss = np.exp(log_evidence(k + 1, n + 1, p0)), np.exp(log_evidence(k, n + 1, p0))
        assert p0 * hit + (1 - p0) * miss == pytest.approx(now, rel=1e-9)
        assert (p0 - 0.1) * hit + (1.1 - p0) * miss < now


def test_the_evidence_falls_as_the_threshold_rises():
    grid = np.linspace(0.01, 0.999, 400)
    for k, n in ((0, 5), (5, 5), (70, 100), (999, 1000)):
        assert (np.diff(log_evidence(k, n, grid)) < (1e-9 if k == 0 else 0)).all()  # without successes it is constant


def test_the_sequential_test_errs_at_most_alpha_of_the_time_at_the_boundary():
    rng, alpha, trials = np.random.default_rng(0), 0.05, 2000
    for p0 in (0.6, 0.9, 0.99):
        test = SequentialTest(np.array([p0]), n=2000, alpha=alpha, patience=1e9)
        state = test.run(BernoulliCounts(np.full(trials, p0), rng, 50), trials, slots=trials)
        assert (state.proved > 0).sum() <= allowed(trials, alpha)
        assert (state.proved > 0).sum() >= 0.5 * alpha * trials  # the terminal test uses its share


def test_one_alpha_covers_all_nested_thresholds_together():
    rng, alpha, trials = np.random.default_rng(1), 0.05, 2000
    test = SequentialTest(np.array([0.6, 0.7, 0.8, 0.81, 0.82]), n=2000, alpha=alpha, patience=1e9)
    state = test.run(BernoulliCounts(np.full(trials, 0.8), rng, 50), trials, slots=trials)
    assert (state.proved > 2).sum() <= allowed(trials, alpha)
    assert (state.proved >= 2).mean() > 0.99


def test_the_early_test_alone_keeps_its_tenth_of_alpha():
    rng, trials = np.random.default_rng(2), 2000
    hits = np.zeros(trials, dtype=np.int64)
    ever = np.zeros(trials, dtype=bool)
    for n in range(50, 5050, 50):
        hits += rng.binomial(50, 0.75, trials)
        ever |= log_evidence(hits, n, 0.75) >= np.log(1 / 0.05)
    assert ever.sum() <= allowed(trials, 0.05)


def test_the_confidence_sequence_covers_the_truth_at_all_sample_sizes_at_once():
    rng, trials, p = np.random.default_rng(3), 500, 0.85
    hits, wrong = np.zeros(trials, dtype=np.int64), np.zeros(trials, dtype=bool)
    for n in range(50, 2050, 50):
        hits += rng.binomial(50, p, trials)
        wrong |= sequence_lower(hits, n, 0.05, rounds=30) > p
    assert wrong.sum() <= allowed(trials, 0.05)


def test_the_curve_form_errs_at_most_alpha_of_the_time():
    rng, trials, p = np.random.default_rng(4), 1000, 0.9
    count = BernoulliCounts(np.full(trials, p), rng, 50)
    found = run_curve(count, trials, Gaussian(0.5), 10, n=1000, alpha=0.05, tolerance=0.0, slots=10_000)
    assert (found.lower > p).sum() <= allowed(trials, 0.05)
    assert found.lower.mean() > 0.86


def test_clopper_pearson_inverts_the_exact_tail():
    for k, n in ((1, 10), (99_990, 100_000), (100, 100)):
        bound = float(clopper_pearson_lower(k, n, 0.001))
        assert float(upper_tail(k, n, bound)) == pytest.approx(0.001, rel=1e-6)
        assert bound == pytest.approx(stats.binomtest(k, n, alternative="greater").proportion_ci(0.999).low, rel=1e-9)
    assert float(clopper_pearson_lower(0, 10, 0.001)) == 0.0
    assert float(clopper_pearson_upper(10, 10, 0.001)) == 1.0


def test_terminal_counts_are_the_least_that_prove_each_claim():
    test = SequentialTest(np.array([0.6, 0.9, 0.99]), n=10_000, alpha=0.001)
    for threshold, count in zip(test.thresholds, test.terminal_counts, strict=True):
        assert upper_tail(count, 10_000, threshold) <= 0.0009 < upper_tail(count - 1, 10_000, threshold)


@pytest.mark.parametrize("noise", [Gaussian(0.25), UniformBall(0.25), QuantizedGaussian(0.25)])
def test_threshold_and_radius_invert_each_other(noise):
    radii = np.array([0.01, 0.1, 0.25, 0.33])
    back = noise.radius(noise.threshold(radii, 784), 784)
    assert back == pytest.approx(radii, abs=1e-6)
    assert (noise.threshold(radii + 1e-3, 784) > noise.threshold(radii, 784)).all()
    assert float(noise.radius(0.5, 784)) == 0.0
    assert float(noise.radius(0.3, 784)) == 0.0


def test_thresholds_round_up_and_radii_round_down():
    gaussian, ball, d = Gaussian(0.25), UniformBall(0.25), 784
    with mpmath.workdps(40):
        for r in (0.05, 0.25, 0.33, 0.9):
            exact = mpmath.ncdf(mpmath.mpf(r) / mpmath.mpf(0.25))
            assert mpmath.mpf(float(gaussian.threshold(r, d))) >= exact
            assert mpmath.mpf(float(gaussian.radius(float(exact), d))) <= mpmath.mpf(r) + mpmath.mpf("1e-12")
        for r in (0.05, 0.25, 0.33):
            share = (mpmath.mpf(r) / (2 * mpmath.mpf(0.25) * mpmath.sqrt(d + 2))) ** 2
            lost = mpmath.betainc(0.5, mpmath.mpf(d + 1) / 2, 0, share, regularized=True)
            assert mpmath.mpf(float(ball.threshold(r, d))) >= 0.5 + lost


def test_the_ball_radius_matches_the_overlap_of_two_balls_measured_by_sampling():
    noise, d = UniformBall(0.3), 20
    x = torch.zeros(1, d)
    points = noise.sample(x, block_draws(5, torch.tensor([0]), torch.tensor([0])), 200_000)[0].double()
    assert float(points.norm(dim=1).max()) <= noise.support(d) * (1 + 1e-6)
    assert float(points.std()) == pytest.approx(0.3, rel=0.01)
    for r in (0.05, 0.2, 0.35):
        shift = torch.zeros(d, dtype=torch.float64)
        shift[0] = r
        outside = float(((points - shift).norm(dim=1) > noise.support(d)).double().mean())
        assert float(noise.threshold(r, d)) - 0.5 == pytest.approx(outside, abs=5e-3)


def test_the_uniform_ball_certificate_is_tight_for_the_worst_classifier():
    # The worst class region, by Neyman-Pearson, is what lies in the clean ball but not in the shifted one, plus a share
    # of the overlap; at the certified radius its probability at the shifted input is just 1/2.
    noise, d, p = UniformBall(0.3), 20, 0.8
    r = float(noise.radius(p, d))
    lost = float(special.betainc(0.5, (d + 1) / 2, (r / (2 * noise.support(d))) ** 2))
    assert p - lost == pytest.approx(0.5, abs=1e-9)


def test_quantized_noise_stays_on_the_8_bit_grid_and_has_the_right_law():
    noise = QuantizedGaussian(0.25)
    x = torch.full((1, 1, 4, 4), 128 / 255)
    drawn = noise.sample(x, block_draws(1, torch.tensor([0]), torch.tensor([0])), 20_000)[0]
    levels = drawn * 255
    assert float((levels - levels.round()).abs().max()) < 1e-3
    steps = (levels - 128).round().double().reshape(-1)
    assert float(steps.std()) == pytest.approx(255 * 0.25, rel=0.01)
    assert abs(float(steps.mean())) < 0.5
    share = float((steps <= 20).double().mean())
    assert share == pytest.approx(float(special.ndtr(20.5 / (255 * 0.25))), abs=0.005)
    with pytest.raises(InputError, match="8-bit"):
        noise.check(torch.full((1, 4), 0.5001))


def test_certificates_of_a_linear_model_never_exceed_its_true_smoothed_radius():
    torch.manual_seed(0)
    direction = torch.randn(1, 4, 4)
    direction /= direction.norm()
    x = torch.rand(40, 1, 4, 4)
    model = halfspace(direction, float((x * direction).sum((1, 2, 3)).median()))
    truth = (model(x)[:, 1] - model(x)[:, 0]).abs().detach() / 2
    y = model(x).argmax(1)
    radii = (0.05, 0.1, 0.2, 0.3)
    found = smoothing_sequential(model, x, y, sigma=0.25, radii=radii, seed=7, n=10_000)
    assert (found.radius <= truth + 1e-6).all()
    reachable = torch.tensor([max([r for r in radii if r < 0.85 * float(t)], default=0.0) for t in truth], dtype=torch.float64)
    assert (found.radius >= reachable - 1e-9).float().mean() > 0.95
    curve = smoothing_curve(model, x, y, sigma=0.25, seed=7, n=10_000)
    assert (curve.radius <= truth + 1e-6).all()
    assert float(curve.samples.double().mean()) < 9_000
    reference = smoothing_cohen(model, x[:5], y[:5], sigma=0.25, seed=7, n=10_000)
    assert (reference.radius <= truth[:5] + 1e-6).all()
    assert float((reference.radius - curve.radius[:5]).abs().max()) < 0.06


def test_fast_normals_are_standard_normal_and_independent() -> None:
    drawn = normal(block_draws(3, torch.arange(4), torch.zeros(4, dtype=torch.int64)), 100_001).double()
    assert drawn.shape == (4, 100_001)
    assert stats.kstest(drawn.reshape(-1).numpy(), "norm").pvalue > 1e-3
    assert float(torch.corrcoef(drawn).fill_diagonal_(0).abs().max()) < 0.02
    halves = drawn[:, :100_000].reshape(4, 2, 50_000)
    assert float((halves[:, 0] * halves[:, 1]).mean().abs()) < 0.01


def test_verdicts_do_not_depend_on_batching_order_or_companions():
    torch.manual_seed(1)
    x = torch.rand(12, 1, 4, 4)
    direction = torch.randn(1, 4, 4)
    model = halfspace(direction, float((x * direction).sum((1, 2, 3)).median()))
    y = model(x).argmax(1)
    options = {"sigma": 0.5, "radii": (0.1, 0.3), "seed": 3, "n": 5000}
    whole = smoothing_sequential(model, x, y, batch=1000, **options)
    small = smoothing_sequential(model, x, y, batch=100, **options)
    part = smoothing_sequential(model, x[[7, 2]], y[[7, 2]], ids=torch.tensor([7, 2]), batch=250, **options)
    assert torch.equal(whole.radius, small.radius)
    assert torch.equal(whole.radius[[7, 2]], part.radius)
    other = smoothing_curve(model, x, y, sigma=0.5, seed=4, n=2000)
    assert not torch.equal(other.radius, smoothing_curve(model, x, y, sigma=0.5, seed=5, n=2000).radius)


def test_a_wrong_label_is_never_certified():
    torch.manual_seed(2)
    x = torch.rand(10, 1, 4, 4)
    direction = torch.randn(1, 4, 4)
    model = halfspace(direction, float((x * direction).sum((1, 2, 3)).median()))
    wrong = 1 - model(x).argmax(1)
    found = smoothing_sequential(model, x, wrong, sigma=0.25, radii=(0.01,), seed=0, n=5000)
    assert not found.certified.any()
    assert found.samples.max() <= 5000


def test_a_randomized_base_model_is_refused():
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) + torch.randn(len(x), x[0].numel())

    with pytest.raises(InputError, match="not deterministic"):
        smoothing_sequential(Noisy().eval(), torch.rand(2, 1, 2, 2), torch.tensor([0, 1]), sigma=0.1, radii=(0.1,), seed=0)
    with pytest.raises(InputError, match="training mode"):
        check_deterministic(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.rand(2, 1, 2, 2))


def test_a_base_model_that_looks_at_its_batch_is_refused():
    class Companion(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) - x.flatten(1)[:1]

    with pytest.raises(InputError, match="reverse order"):
        check_deterministic(Companion().eval(), torch.rand(8, 1, 2, 2))


def test_a_missing_sigma_is_a_clear_error():
    with pytest.raises(InputError, match="sigma is missing"):
        build_noise("gaussian", None)
    with pytest.raises(InputError, match="no noise named"):
        build_noise("laplace", 0.25)


def test_the_summary_prints_the_expected_number_of_false_certificates():
    model = halfspace(torch.ones(1, 2, 2), 1.0)
    found = smoothing_sequential(
        model, torch.rand(5, 1, 2, 2), torch.ones(5, dtype=torch.int64), sigma=0.1, radii=(0.1,), seed=0, n=1000
    )
    assert "expected number of false certificates: at most 0.005" in found.summary()


def test_certified_accuracy_counts_correct_examples_with_enough_radius():
    curve = certified_accuracy([0.5, 0.3, 0.9, 0.0], [True, True, False, True], [0.0, 0.3, 0.5, 0.6])
    assert curve.accuracy.tolist() == [0.75, 0.5, 0.25, 0.0]
    assert certified_accuracy([0.5, 0.3, 0.1], [True] * 3, [0.0, 0.2, 0.4]).percent() == [100.0, 66.7, 33.3]
    for radius, correct, radii in (
        ([0.5], [True, False], [0.1]),
        ([[0.5]], [[True]], [0.1]),
        ([], [], [0.1]),
        ([0.5], [True], [-1.0, 0.1]),
        ([0.5], [True], [0.1, math.inf]),
        ([math.nan, 0.5], [True, True], [0.1]),
    ):
        with pytest.raises(InputError):
            certified_accuracy(radius, correct, radii)


def test_the_published_cohen_curve_comes_out_of_the_released_logs(shared_logs: Path):
    logs = [read_log(shared_logs / f"sigma_{sigma:.2f}.tsv.gz") for sigma in SIGMAS]
    curves = [certified_accuracy(log.radius.clip(min=0), log.correct, RADII) for log in logs]
    best = CertifiedCurve(curves[0].radii, np.max([curve.accuracy for curve in curves], axis=0))  # the best sigma per radius
    assert best.percent() == [61.2, 42.8, 32.5, 22.1, 17.2, 13.3, 9.7, 6.6, 4.3]


def test_the_sequential_form_matches_fixed_n_on_the_released_logs_for_a_tenth_of_the_samples(shared_logs: Path):
    rng, sigma = np.random.default_rng(0), 0.25
    p = read_log(shared_logs / f"sigma_{sigma:.2f}.tsv.gz").probabilities(sigma)[::10]
    radii = np.array(RADII)
    test = SequentialTest(Gaussian(sigma).threshold(radii, 3072))
    state = test.run(BernoulliCounts(p, rng, 50), len(p), slots=2000)
    ours = np.concatenate([[0.0], radii])[state.proved]
    fixed = cohen_radii(p, sigma, rng)
    gap = [(fixed >= r).mean() - (ours >= r).mean() for r in radii]
    assert state.spent.mean() < 10_000
    # 1,000 examples: both runs are random near a radius, so 0.2 points plus three standard errors of that
    assert max(gap) < 0.002 + 3 * np.sqrt(2 * 0.002 / len(p))


@pytest.fixture
def shared_logs(request: pytest.FixtureRequest) -> Path:
    """The folder of released certification logs."""
    return shared_data() / "logs" / "cohen-cifar10"
