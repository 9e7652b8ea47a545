"""The evidence against dense Gaussians, its gradient against finite differences, its maximum against the truth."""

from __future__ import annotations

import math

import pytest
import torch

from kernpot.errors import NumericalError
from kernpot.regression.evidence import NOISE_BOUNDS, Evidence, maximize_evidence
from kernpot.regression.factor import LabelFactor

F64 = torch.float64
BLOCK = torch.tensor([0] * 5 + [1] * 4)
M, BLOCKS = len(BLOCK), 2
NOISE = {"energy": 0.3, "forces": 0.07}
AMPLITUDES = torch.tensor([1.4, 0.6], dtype=F64)


class Data:
    """Two noise groups with labels drawn from the model, part of whose prior the inducing set does not represent."""

    def __init__(self, n_energy: int = 15, n_forces: int = 40, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        weights = torch.randn(M, dtype=F64, generator=generator)
        self.rows, self.targets, self.prior = {}, {}, {}
        for group, n in (("energy", n_energy), ("forces", n_forces)):
            rows = torch.randn(n, M, dtype=F64, generator=generator) / math.sqrt(M)
            extra = 0.2 * torch.rand(n, BLOCKS, dtype=F64, generator=generator)
            nystrom = torch.zeros(n, BLOCKS, dtype=F64).index_add_(1, BLOCK, rows.square())
            noise = NOISE[group] * torch.randn(n, dtype=F64, generator=generator)
            self.rows[group], self.prior[group] = rows, nystrom + extra
            self.targets[group] = (rows * AMPLITUDES[BLOCK]) @ weights + noise

    def factors(self) -> dict[str, LabelFactor]:
        factors = {}
        for group in self.rows:
            factors[group] = LabelFactor.empty(M, BLOCKS)
            factors[group].add(self.rows[group], self.targets[group], self.prior[group])
        return factors

    def dense(self, log_noise: torch.Tensor, log_amplitudes: torch.Tensor) -> torch.Tensor:
        """Titsias' bound as written, with N x N matrices."""
        b = torch.cat(list(self.rows.values())) * log_amplitudes.exp()[BLOCK]
        y = torch.cat(list(self.targets.values()))
        prior = torch.cat(list(self.prior.values())) @ (2 * log_amplitudes).exp()
        counts = torch.tensor([len(t) for t in self.targets.values()])
        lam = (2 * log_noise).exp().repeat_interleave(counts)
        gaussian = torch.distributions.MultivariateNormal(torch.zeros_like(y), b @ b.T + torch.diag(lam))
        log_probability: torch.Tensor = gaussian.log_prob(y)  # type: ignore[no-untyped-call]
        return log_probability - 0.5 * ((prior - b.square().sum(dim=1)) / lam).sum()


def parameters(shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    log_noise = torch.tensor(list(NOISE.values()), dtype=F64).log() + shift
    return log_noise.requires_grad_(), (AMPLITUDES.log() - shift).requires_grad_()


@pytest.mark.parametrize("shift", [-1.0, 0.0, 2.0])
@pytest.mark.parametrize(("n_energy", "n_forces"), [(15, 40), (2, 3), (1, 60)])
def test_equals_dense_gaussian_and_its_autograd_gradient(n_energy: int, n_forces: int, shift: float) -> None:
    data = Data(n_energy, n_forces)
    ours, dense = parameters(shift), parameters(shift)
    value, expected = Evidence(data.factors(), BLOCK)(*ours), data.dense(*dense)
    assert value.item() == pytest.approx(expected.item(), rel=1e-10)
    value.backward()  # type: ignore[no-untyped-call]
    expected.backward()  # type: ignore[no-untyped-call]
    for mine, reference in zip(ours, dense, strict=True):
        assert mine.grad is not None and reference.grad is not None
        assert torch.allclose(mine.grad, reference.grad, rtol=1e-9, atol=1e-9)


def test_gradient_agrees_with_finite_differences() -> None:
    evidence = Evidence(Data().factors(), BLOCK)
    assert torch.autograd.gradcheck(evidence, parameters(0.3), eps=1e-5, atol=1e-5, rtol=1e-7)


@pytest.mark.parametrize("noise", [1e-5, 1e-7, 1e-10])
def test_stays_exact_where_normal_equations_would_fail(noise: float) -> None:
    """Signal over noise of up to 1e20 in variance: compare with the same problem in 60 digits."""
    mpmath = pytest.importorskip("mpmath")
    generator = torch.Generator().manual_seed(3)
    n, m = 12, 4
    rows = torch.randn(n, m, dtype=F64, generator=generator) @ torch.triu(torch.ones(m, m, dtype=F64))
    rows = rows * torch.tensor([1.0, 1e-2, 1e-4, 1e-6], dtype=F64)
    targets = rows @ torch.ones(m, dtype=F64) + noise * torch.randn(n, dtype=F64, generator=generator)
    factor = LabelFactor.empty(m, 1)
    factor.add(rows, targets, rows.square().sum(dim=1, keepdim=True))
    log_noise = torch.tensor([noise], dtype=F64).log()
    value = Evidence({"forces": factor}, torch.zeros(m, dtype=torch.int64))(log_noise, torch.zeros(1, dtype=F64))
    with mpmath.workdps(60):
        b, y = mpmath.matrix(rows.tolist()), mpmath.matrix(targets.tolist())
        covariance = b * b.T + mpmath.mpf(math.exp(float(log_noise))) ** 2 * mpmath.eye(n)
        quadratic = (y.T * mpmath.lu_solve(covariance, y))[0]
        exact = -0.5 * (n * mpmath.log(2 * mpmath.pi) + mpmath.log(mpmath.det(covariance)) + quadratic)
    # Rounding of the targets alone, eps |y| / sigma, moves the quadratic form by this much.
    assert float(value) == pytest.approx(
        float(exact), rel=1e-9, abs=10 * 2.2e-16 * float(targets.norm()) / noise + 1e-6
    )


def test_qr_and_cholesky_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = Evidence(Data().factors(), BLOCK)
    by_cholesky = evidence.value_and_gradient(*(p.detach() for p in parameters()))
    monkeypatch.setattr("kernpot.regression.evidence._CHOLESKY_ERROR", -1.0)
    by_qr = evidence.value_and_gradient(*(p.detach() for p in parameters()))
    for a, b in zip(by_cholesky, by_qr, strict=True):
        assert torch.allclose(a, b, rtol=1e-11)


def test_maximum_recovers_the_truth_and_is_stationary() -> None:
    data = Data(400, 1500)
    for group in data.prior:  # a fully represented prior: the evidence is then exact and the truth its maximum
        data.prior[group] = torch.zeros_like(data.prior[group]).index_add_(1, BLOCK, data.rows[group].square())
    factors, no = data.factors(), torch.zeros(BLOCKS, dtype=torch.bool)
    start = {"energy": 5.0, "forces": 5.0}
    result = maximize_evidence(factors, BLOCK, start, set(), torch.full((BLOCKS,), 20.0, dtype=F64), no)
    assert result.converged and result.at_bounds == ()
    for group, n in (("energy", 400), ("forces", 1500)):
        assert math.log(result.noise[group] / NOISE[group]) == pytest.approx(0, abs=4 / math.sqrt(2 * n))
    assert torch.allclose(result.amplitudes.log(), AMPLITUDES.log(), atol=4 / math.sqrt(2 * 4))
    log_noise = torch.tensor([result.noise[g] for g in factors], dtype=F64).log()
    value, *gradient = Evidence(factors, BLOCK).value_and_gradient(log_noise, result.amplitudes.log())
    assert result.log_evidence == pytest.approx(float(value))
    assert max(float(g.abs().max()) for g in gradient) < 0.02
    assert result.n_evaluations < 60


def test_what_the_user_fixed_stays() -> None:
    factors = Data().factors()
    fixed = torch.tensor([True, False])
    result = maximize_evidence(factors, BLOCK, {"energy": 1.0, "forces": 1.0}, {"energy"}, AMPLITUDES, fixed)
    assert result.noise["energy"] == pytest.approx(1.0, rel=1e-14)
    assert float(result.amplitudes[0]) == pytest.approx(float(AMPLITUDES[0]), rel=1e-14)
    assert result.noise["forces"] < 0.6 and not torch.isclose(result.amplitudes[1], AMPLITUDES[1])
    everything = maximize_evidence(factors, BLOCK, NOISE, set(NOISE), AMPLITUDES, ~torch.zeros(2, dtype=torch.bool))
    assert everything.noise == pytest.approx(NOISE) and everything.n_evaluations == 1
    start = Evidence(factors, BLOCK)(*parameters())
    assert everything.log_evidence == pytest.approx(start.item(), rel=1e-12)


def test_log_prior_pulls() -> None:
    factors, free = Data().factors(), torch.zeros(BLOCKS, dtype=torch.bool)

    def log_prior(noise: dict[str, torch.Tensor], amplitudes: torch.Tensor) -> torch.Tensor:
        return -1e5 * ((noise["forces"] / 0.5).log() ** 2 + (amplitudes / 3.0).log().square().sum())

    result = maximize_evidence(factors, BLOCK, NOISE, set(), AMPLITUDES, free, log_prior)
    assert result.noise["forces"] == pytest.approx(0.5, rel=0.01)
    assert torch.allclose(result.amplitudes, torch.full((2,), 3.0, dtype=F64), rtol=0.01)


def test_parameter_on_its_bound_is_reported() -> None:
    """Labels without any scatter, fully represented, pull the noise to zero: only the bound stops it."""
    factor = LabelFactor.empty(M, BLOCKS)
    rows = torch.randn(30, M, dtype=F64, generator=torch.Generator().manual_seed(0))
    prior = torch.zeros(30, BLOCKS, dtype=F64).index_add_(1, BLOCK, rows.square())
    factor.add(rows, rows @ torch.ones(M, dtype=F64), prior)
    free = torch.zeros(BLOCKS, dtype=torch.bool)
    result = maximize_evidence({"forces": factor}, BLOCK, {"forces": 0.1}, set(), AMPLITUDES, free)
    assert result.at_bounds == ("noise[forces]",)
    assert result.noise["forces"] == pytest.approx(NOISE_BOUNDS[0])


def test_group_without_labels_does_not_count() -> None:
    factors = Data().factors()
    alone = Evidence(factors, BLOCK)(*parameters()).item()
    more = factors | {"stress": LabelFactor.empty(M, BLOCKS)}
    assert Evidence(more, BLOCK)(*parameters()).item() == alone
    free = torch.zeros(BLOCKS, dtype=torch.bool)
    assert maximize_evidence(more, BLOCK, NOISE | {"stress": 0.01}, set(), AMPLITUDES, free).noise["stress"] == 0.01


def test_evidence_is_a_snapshot() -> None:
    data = Data()
    factors = data.factors()
    evidence = Evidence(factors, BLOCK)
    before = evidence(*parameters()).item()
    factors["forces"].add(data.rows["forces"], data.targets["forces"], data.prior["forces"])
    assert evidence(*parameters()).item() == before


def test_bad_input_is_named() -> None:
    factors, free = Data().factors(), torch.zeros(BLOCKS, dtype=torch.bool)
    with pytest.raises(ValueError, match="at least one label"):
        Evidence({"energy": LabelFactor.empty(M, BLOCKS)}, BLOCK)
    with pytest.raises(ValueError, match="group 'forces' has no noise"):
        maximize_evidence(factors, BLOCK, {"energy": 1.0}, set(), AMPLITUDES, free)
    with pytest.raises(ValueError, match=r"noise\[energy\]: expected a start between 1e-05"):
        maximize_evidence(factors, BLOCK, {"energy": 1e-9, "forces": 1.0}, set(), AMPLITUDES, free)
    with pytest.raises(ValueError, match="fixed_amplitudes: expected a bool"):
        maximize_evidence(factors, BLOCK, NOISE, set(), AMPLITUDES, free[:1])
    overfull = LabelFactor.empty(M, BLOCKS)
    overfull.add(torch.ones(3, M, dtype=F64), torch.ones(3, dtype=F64), torch.ones(3, BLOCKS, dtype=F64))
    with pytest.raises(NumericalError, match="explain more than the prior"):
        Evidence({"forces": overfull}, BLOCK)
