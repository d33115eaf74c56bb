"""The latent flows as the equation says, and the penalties measure what they claim."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from learners.ode import Flow, Solver, curvature, discrepancy, encoder_discrepancy, trajectory

torch.set_num_threads(1)

SPIRAL = torch.tensor([[-0.3, 1.1, 0.0], [-1.1, -0.3, 0.2], [0.1, 0.0, -0.5]], dtype=torch.float64)
START = torch.tensor([[1.0, 0.0, 0.5], [0.2, -1.0, 2.0]], dtype=torch.float64)


class Linear(nn.Module):
    """``dz/dt = A z``."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix.clone())

    def forward(self, _t: Tensor, z: Tensor) -> Tensor:
        return z @ self.matrix.T


class Constant(nn.Module):
    """The same rate everywhere and always."""

    def __init__(self, *rate: float) -> None:
        super().__init__()
        self.rate = torch.tensor(rate, dtype=torch.float64)

    def forward(self, _t: Tensor, z: Tensor) -> Tensor:
        return self.rate.expand_as(z)


class Clocked(nn.Module):
    """A rate that is the time itself."""

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return t.expand_as(z)


@pytest.mark.parametrize(("solver", "points", "near"), [("rk4", 17, 1e-5), ("dopri5", 5, 2e-3)])
def test_a_linear_flow_follows_the_matrix_exponential(solver: Solver, points: int, near: float) -> None:
    """``rk4`` in steps of 1/32 keeps 1e-5; ``dopri5`` keeps what its rtol of 1e-3 promises."""
    states, times = trajectory(Linear(SPIRAL), START, 2.0, points, solver)
    assert states.shape == (points, 2, 3)
    for state, time in zip(states, times, strict=True):
        expected = START @ torch.linalg.matrix_exp(SPIRAL * time).T
        torch.testing.assert_close(state, expected, atol=near, rtol=0)


@pytest.mark.parametrize(("solver", "points", "near"), [("rk4", 17, 1e-5), ("dopri5", 5, 2e-2)])
def test_gradients_flow_back_as_through_the_matrix_exponential(solver: Solver, points: int, near: float) -> None:
    flow, start = Linear(SPIRAL), START.clone().requires_grad_()
    states, _ = trajectory(flow, start, 2.0, points, solver)
    found = torch.autograd.grad(states[-1].square().sum(), (start, flow.matrix))
    matrix, again = SPIRAL.clone().requires_grad_(), START.clone().requires_grad_()
    end = again @ torch.linalg.matrix_exp(2.0 * matrix).T
    torch.testing.assert_close(found, torch.autograd.grad(end.square().sum(), (again, matrix)), atol=near, rtol=0)


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_without_a_flow_the_state_stays(solver: Solver) -> None:
    states, _ = trajectory(Constant(0.0, 0.0, 0.0), START, 2.0, 4, solver)
    torch.testing.assert_close(states, START.expand(4, 2, 3), atol=0, rtol=0)


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_two_points_are_the_start_and_the_end(solver: Solver) -> None:
    states, times = trajectory(Constant(1.0, -2.0, 0.5), START, 2.0, 2, solver)
    assert times.tolist() == [0.0, 2.0]
    torch.testing.assert_close(states[0], START, atol=0, rtol=0)
    torch.testing.assert_close(states[1], START + torch.tensor([2.0, -4.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_the_flow_is_told_the_time(solver: Solver) -> None:
    states, times = trajectory(Clocked(), START, 2.0, 5, solver)
    torch.testing.assert_close(states, START + 0.5 * times.square()[:, None, None], atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_learned_flow_begins_nearly_still_and_knows_the_time() -> None:
    torch.manual_seed(0)
    flow, z = Flow(8, 32), torch.randn(16, 8)
    still = flow(torch.tensor(0.0), z)
    assert still.shape == (16, 8)
    assert float(still.abs().max()) < 0.1
    assert not torch.equal(still, flow(torch.tensor(2.0), z))


@torch.no_grad()
def fd(flow: nn.Module, points: int) -> float:
    """The discrepancy of the flow's own solution over two seconds, seen at so many points."""
    return float(discrepancy(flow, *trajectory(flow, START, 2.0, points, "rk4")))


def test_halving_the_step_divides_the_discrepancy_by_nearly_four() -> None:
    """It is a curvature penalty: ``(dt / 2)^2 |z''|^2``, summed over time."""
    found = [fd(Linear(SPIRAL), points) for points in (3, 5, 9, 17, 33)]
    ratios = [coarse / fine for coarse, fine in pairwise(found)]
    assert all(2.5 < ratio < 4.6 for ratio in ratios), ratios
    assert all(3.4 <= ratio <= 4.05 for ratio in ratios[2:]), ratios


def test_the_exact_discrepancy_of_the_flows_own_solution_is_zero() -> None:
    """Seen ever more finely, a solution moves exactly as its flow says: what makes Eq. 13 zero as printed."""
    assert fd(Linear(SPIRAL), 513) < 1e-4 < 1e-1 < fd(Linear(SPIRAL), 2)


def test_a_state_that_moves_unlike_its_flow_is_discrepant_however_finely_it_is_seen() -> None:
    states, times = trajectory(Constant(1.0, 0.0, 0.0), START, 2.0, 65, "rk4")
    assert float(discrepancy(Constant(0.0, 0.0, 0.0), states, times)) == pytest.approx(2.0)


def test_a_constant_flow_has_no_discrepancy() -> None:
    assert fd(Constant(1.0, -2.0, 0.5), 2) == pytest.approx(0.0, abs=1e-12)
    assert fd(Constant(1.0, -2.0, 0.5), 9) == pytest.approx(0.0, abs=1e-12)


@torch.no_grad()
def test_the_discrepancy_is_a_mean_over_the_batch() -> None:
    flow = Linear(SPIRAL)
    apart = [float(discrepancy(flow, *trajectory(flow, one[None], 2.0, 3, "rk4"))) for one in START]
    assert fd(flow, 3) == pytest.approx(np.mean(apart))


@torch.no_grad()
def test_an_encoder_that_moves_with_the_flow_has_no_discrepancy() -> None:
    flow, apart = Linear(SPIRAL), 1e-4
    after = START @ torch.linalg.matrix_exp(SPIRAL * apart).T
    assert float(encoder_discrepancy(flow, START, after, apart)) < 1e-6
    assert float(encoder_discrepancy(Constant(1.0, 0.0, 2.0), START, START, apart)) == pytest.approx(5.0)


def test_a_straight_line_has_no_curvature_and_a_bend_has() -> None:
    line = torch.linspace(0, 1, 10)[None, :, None] * torch.tensor([1.0, -3.0]) + 5
    assert float(curvature(line)) < 1e-10
    assert float(curvature(torch.tensor([[[0.0], [0.0], [1.0], [2.0]]]))) == pytest.approx(0.5)
