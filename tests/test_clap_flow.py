"""Rectified flow as CLAP has it: the path, its velocity, where on it training looks, and the way back."""

import pytest
import torch

from learners.clap.flow import Times, euler, path, velocity

torch.set_num_threads(1)


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(5, 8, 14, generator=generator, dtype=torch.float64),
        torch.randn(5, 8, 14, generator=generator, dtype=torch.float64),
    )


def test_the_path_begins_at_noise_and_ends_at_the_action() -> None:
    actions, noise = pair()
    assert torch.equal(path(actions, noise, torch.zeros(5, dtype=torch.float64)), noise)
    assert torch.equal(path(actions, noise, torch.ones(5, dtype=torch.float64)), actions)


def test_the_velocity_is_the_slope_of_the_path() -> None:
    actions, noise = pair()
    rho, step = torch.linspace(0, 0.9, 5, dtype=torch.float64), 1e-4
    slope = (path(actions, noise, rho + step) - path(actions, noise, rho)) / step
    torch.testing.assert_close(slope, velocity(actions, noise), atol=1e-6, rtol=0)


@pytest.mark.parametrize("steps", [1, 2, 4, 7, 32])
def test_with_the_true_velocity_any_number_of_steps_reaches_the_action(steps: int) -> None:
    actions, noise = pair()
    asked = []

    def field(_now: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
        asked.append(float(rho[0]))
        return velocity(actions, noise)

    torch.testing.assert_close(euler(field, noise, steps), actions, atol=1e-6, rtol=0)
    assert asked == [step / steps for step in range(steps)]


def test_a_flow_of_no_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="1 step or more, not 0"):
        euler(lambda a, _rho: a, torch.zeros(1, 2), 0)


def test_training_looks_more_often_near_noise_and_never_outside() -> None:
    torch.manual_seed(0)
    rho = Times().draw(200_000)
    assert float(rho.min()) >= 0
    assert float(rho.max()) <= 0.999
    assert float(rho.mean()) == pytest.approx(0.3996, abs=0.005)
    tenths = [float(rho.quantile(share)) for share in (0.1, 0.5, 0.9)]
    assert tenths == pytest.approx([0.068, 0.369, 0.782], abs=0.01)
