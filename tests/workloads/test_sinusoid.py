from typing import Any

import numpy as np
import pytest
import torch

from harness import registry
from harness.errors import UsageError
from harness.protocol import WorkloadSpec
from harness.workloads.models import MLP
from harness.workloads.sinusoid import Sinusoid


def test_an_episode_does_not_depend_on_how_many_are_drawn_at_once() -> None:
    tasks = Sinusoid().open(None)
    eight, one = tasks.sample("train", 2, 0, 8), tasks.sample("train", 2, 5, 1)
    assert eight.seeds[5:6] == one.seeds
    sixth = [t[5:6] for t in eight.tensors()]
    assert all(map(torch.equal, sixth, one.tensors()))


def test_episodes_differ_between_splits_seeds_and_numbers() -> None:
    tasks = Sinusoid().open(None)
    drawn: Any = [tasks.sample(s, k, i, 1) for s in ("train", "test") for k in (0, 1) for i in (0, 1)]
    assert len({float(batch.support.inputs[0, 0, 0]) for batch in drawn}) == len(drawn)


def test_support_and_query_are_points_of_one_sine_of_the_published_family() -> None:
    batch = Sinusoid(shots=30, queries=20).open(None).sample("test", 0, 0, 300)
    both = batch.support.and_then(batch.query)
    x, y = both.inputs.double().numpy()[..., 0], both.targets.double().numpy()[..., 0]
    assert x.min() > -5.001
    assert x.max() < 5.001
    assert all(len(set(task)) == 50 for task in x.tolist()), "support and query share no point"
    amplitudes, phases = [], []
    for t in range(300):
        # A sin(x - p) = A cos(p) sin(x) - A sin(p) cos(x): linear in two coefficients.
        basis = np.stack([np.sin(x[t]), -np.cos(x[t])], 1)
        (c, s), residual = np.linalg.lstsq(basis, y[t], rcond=None)[:2]
        assert residual < 1e-8
        amplitudes.append(np.hypot(c, s))
        phases.append(np.arctan2(s, c))
    assert min(amplitudes) > 0.099
    assert max(amplitudes) < 5.001
    assert np.mean(amplitudes) == pytest.approx(2.55, abs=0.3)
    assert min(phases) > -1e-4
    assert max(phases) < np.pi + 1e-4
    assert np.mean(phases) == pytest.approx(np.pi / 2, abs=0.2)


def test_the_model_is_the_published_network() -> None:
    model = Sinusoid().model()
    assert isinstance(model, MLP)
    assert model.widths == (1, 40, 40, 1)
    assert model.activation is torch.nn.functional.relu
    assert sum(p.numel() for p in model.initial(0).values()) == 40 + 40 + 40 * 40 + 40 + 40 + 1


@pytest.mark.parametrize("setting", ["shots", "queries"])
def test_an_empty_set_is_refused_by_name(setting: str) -> None:
    with pytest.raises(UsageError, match=f"workload 'sinusoid': {setting} must be at least 1, not 0"):
        registry.make_workload(WorkloadSpec("sinusoid", {setting: 0}))
