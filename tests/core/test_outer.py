import pytest
import torch
from problems import gaussian

from harness.core.outer import RULES, SGD, Adam, Interpolate, Outer


def updates(rule: Outer, gradients: list[torch.Tensor], total_steps: int = 4) -> list[torch.Tensor]:
    """The parameters after each of the steps with these gradients."""
    theta = torch.zeros(3, dtype=torch.float64)
    optimiser = rule.optimiser([theta])
    schedule = rule.schedule(optimiser, total_steps)
    path = []
    for g in gradients:
        theta.grad = g.clone()
        optimiser.step()
        if schedule is not None:
            schedule.step()
        path.append(theta.clone())
    return path


def test_sgd_subtracts_the_gradient_with_heavy_ball_momentum() -> None:
    g = [gaussian(i, 3) for i in range(3)]
    path = updates(SGD(lr=0.1, momentum=0.5), g)
    velocity, theta = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for each, seen in zip(g, path, strict=True):
        velocity = 0.5 * velocity + each
        theta = theta - 0.1 * velocity
        torch.testing.assert_close(seen, theta)


def test_adams_first_step_has_the_size_of_the_rate_unless_eps_is_large() -> None:
    g = torch.tensor([1e-3, -2.0, 50.0], dtype=torch.float64)
    small, large = updates(Adam(lr=0.1), [g])[0], updates(Adam(lr=0.1, eps=1e-3), [g])[0]
    torch.testing.assert_close(small, -0.1 * g.sign(), rtol=1e-4, atol=0)
    torch.testing.assert_close(large, -0.1 * g / (g.abs() + 1e-3), rtol=1e-9, atol=0)


def test_interpolate_goes_the_rates_share_of_the_way_to_phi() -> None:
    theta, phi = torch.zeros(3, dtype=torch.float64), gaussian(0, 3)
    (moved,) = updates(Interpolate(rate=0.25, anneal=False), [theta - phi])
    torch.testing.assert_close(moved, 0.25 * phi)


def test_interpolate_anneals_linearly_to_zero_over_the_training() -> None:
    g = torch.ones(3, dtype=torch.float64)
    path = updates(Interpolate(rate=1.0), [g] * 6, total_steps=4)
    steps = -torch.stack([torch.zeros(3, dtype=torch.float64), *path]).diff(dim=0)[:, 0]
    torch.testing.assert_close(steps, torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0, 0.0], dtype=torch.float64))


def test_interpolate_without_annealing_keeps_its_rate() -> None:
    g = torch.ones(3, dtype=torch.float64)
    path = updates(Interpolate(rate=0.5, anneal=False), [g] * 3, total_steps=2)
    assert [float(p[0]) for p in path] == [-0.5, -1.0, -1.5]


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_every_optimiser_has_a_fresh_state_of_its_own(rule: type[Outer]) -> None:
    g = [gaussian(i, 3) for i in range(3)]
    same = rule()
    first = updates(same, g)
    second = updates(same, g)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
