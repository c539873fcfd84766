"""Reduced precision is what it says, is recorded, and is refused where the device has none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from problems import make
from runs import rows_of, run_here, write_suite
from torch import nn

from harness.core import trees
from harness.core.model import Model, ModuleModel
from harness.core.objective import task_objectives
from harness.core.outer import Adam
from harness.core.precision import Reduced
from harness.errors import UsageError
from harness.measure.bench import Bench
from harness.measure.prediction import Unpredictable, predicted_peak
from harness.measure_settings import MemorySettings
from harness.preflight import check_arithmetic
from harness.protocol import Request
from harness.store import RunFolder
from harness.suite import Overrides, load_suite
from harness.workloads.glyphs import Glyphs
from harness.workloads.models import MLP
from harness.workloads.sinusoid import Sinusoid
from methods.fomaml import FOMAML
from methods.imaml import ImamlGD
from methods.maml import MAML
from methods.reptile import Reptile

BF16 = torch.bfloat16


def test_an_mlp_in_bfloat16_is_its_layers_on_rounded_tensors() -> None:
    model = MLP(widths=(3, 8, 2), activation="relu")
    params = trees.repeat_for_tasks(model.initial(0), 4)
    x = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))

    def layer(i: int, x: torch.Tensor) -> torch.Tensor:
        weight, bias = params[f"layer{i}.weight"].to(BF16), params[f"layer{i}.bias"].to(BF16)
        return torch.stack([F.linear(x[t].to(BF16), weight[t], bias[t]) for t in range(4)])

    expected = layer(1, torch.relu(layer(0, x)))
    found = Reduced(model, BF16).forward(params, x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.float(), rtol=2**-7, atol=2**-8)
    assert not torch.equal(found, model.forward(params, x))
    assert torch.equal(found, found.to(BF16).float())  # the last layer's output has no more bits


def module() -> Model:
    return ModuleModel(nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1)), ("2.weight", "2.bias"))


@pytest.mark.parametrize("model", [Sinusoid().model(), module()], ids=["native", "vmap"])
@pytest.mark.parametrize(
    "method",
    [
        make(MAML, inner_steps=2, inner_lr=0.01),
        make(FOMAML, inner_steps=2, inner_lr=0.01),
        make(Reptile, inner_steps=2, inner_lr=0.01),
        make(ImamlGD, inner_steps=2, inner_lr=0.01, lam=100.0),  # a system that rounding hardly disturbs
    ],
    ids=lambda method: type(method).__name__,
)
def test_a_meta_gradient_in_bfloat16_is_float32_and_near_that_of_float64(method: Any, model: Model) -> None:
    """Near as a number with 8 bits is: the relative error of a product is 2**-8."""
    workload = Sinusoid()
    batch = workload.open(None).sample("train", 0, 0, 3)

    def meta_gradient(model: Model, dtype: torch.dtype) -> torch.Tensor:
        theta = {name: p.to(dtype) for name, p in model.initial(0).items()}
        tasks = task_objectives(batch.to("cpu", dtype), model, workload.loss_function)
        found = method.meta_gradient(tasks, trees.repeat_for_tasks(theta, 3))
        assert {g.dtype for g in found.values()} == {dtype}
        return trees.flatten(found).double()

    exact = meta_gradient(model, torch.float64)
    error = (meta_gradient(Reduced(model, BF16), torch.float32) - exact).norm() / exact.norm()
    assert 1e-5 < error < 0.1
    assert (meta_gradient(model, torch.float32) - exact).norm() / exact.norm() < 1e-5


def bench(method: Any, precision: str) -> Bench:
    workload = Glyphs(ways=5, shots=1, filters=16)
    model = workload.model()
    return Bench(
        method=method,
        workload=workload,
        tasks=workload.open(None),
        model=model if precision == "float32" else Reduced(model, BF16),
        settings=MemorySettings(meta_batch_size=1, precision=precision),  # type: ignore[arg-type]
        seed=0,
        device=torch.device("cpu"),
        memory_budget=None,
    )


def test_meta_parameters_and_the_outer_rule_stay_float32() -> None:
    point = bench(make(MAML, inner_steps=1, inner_lr=0.1, outer=Adam()), "bfloat16")
    learner = point.learner(2)
    learner.step(point.meta_batch())
    assert {t.dtype for t in learner.state_tensors()} == {torch.float32}


def test_an_inner_step_of_unrolled_maml_keeps_less_in_bfloat16() -> None:
    slopes = {}
    for precision in ("float32", "bfloat16"):
        points = [bench(make(MAML, inner_steps=k, inner_lr=0.1), precision) for k in (2, 6)]
        tracked = [point.track().peak for point in points]
        slopes[precision] = (tracked[1] - tracked[0]) / 4
    assert 0.4 < slopes["bfloat16"] / slopes["float32"] < 0.8


def test_in_bfloat16_nothing_is_predicted() -> None:
    with pytest.raises(Unpredictable, match="fake tensors do not have the types of real ones in bfloat16"):
        predicted_peak(bench(make(FOMAML, inner_steps=1, inner_lr=0.1), "bfloat16"))


# --- in a run ---------------------------------------------------------------------------------------------


def test_a_run_in_bfloat16_is_another_experiment_and_says_so(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, methods="maml = { inner_lr = 0.01 }\nimaml-gd = {}", inner_steps="[1]")
    plain = run_here(suite, tmp_path / "plain")
    reduced = run_here(suite, tmp_path / "reduced", settings=["precision=bfloat16"])
    assert plain.statuses == reduced.statuses == {"ok"}
    assert not {c.id for c in plain.plan.cells} & {c.id for c in reduced.plan.cells}
    assert plain.plan.id != reduced.plan.id
    content = RunFolder(reduced.folder).manifest()["content"]
    assert [content[m]["precision"] for m in ("memory", "time", "accuracy")] == ["bfloat16"] * 3

    def told(folder: Path) -> dict[str, bool]:
        metrics = ("peak_bytes", "tracked_peak_bytes", "step_seconds", "loss")
        return {r.metric: "bfloat16" in r.detail for r in rows_of(folder) if r.metric in metrics}

    assert set(told(reduced.folder).values()) == {True}
    assert set(told(plain.folder).values()) == {False}
    assert len(told(reduced.folder)) == 4
    (why,) = {r.detail for r in rows_of(reduced.folder) if r.metric == "predicted_peak_bytes"}
    assert "fake tensors" in why
    losses = [
        {(r.method, r.metric): r.value for r in rows_of(folder) if r.metric in ("loss", "untrained_loss")}
        for folder in (plain.folder, reduced.folder)
    ]
    for key, loss in losses[0].items():
        assert loss != losses[1][key]
        assert loss == pytest.approx(losses[1][key], rel=0.1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["precision=float16"], "--set precision=float16: .*precision = 'float16' is refused: float16 holds"),
        (["precision=float8"], "is refused: input should be 'float32'"),
        (["accuracy.precison=bfloat16"], "did you mean 'precision'"),
        (["gradient.precision=bfloat16"], "does not exist, for method and oracles compute in float64; leave"),
    ],
)
def test_a_precision_that_is_not_to_be_had_is_refused(tmp_path: Path, settings: list[str], said: str) -> None:
    suite = write_suite(tmp_path, more="")
    suite.write_text(suite.read_text() + "[gradient]\n")
    with pytest.raises(UsageError, match=said):
        load_suite(str(suite), Overrides(settings=settings))


def test_the_gradient_measure_stays_in_float64_where_all_are_asked_for_bfloat16(tmp_path: Path) -> None:
    path = write_suite(tmp_path)
    path.write_text(path.read_text() + "[gradient]\n")
    suite = load_suite(str(path), Overrides(settings=["precision=bfloat16"]))
    assert suite.request(None).precisions == {"bfloat16"}
    assert suite.content.gradient is not None
    assert "precision" not in suite.content.gradient.model_dump()


ASKED = Request((), (), (1,), "auto", 1, None)


def test_a_cpu_has_no_tf32(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a CPU has no TF32; leave it out, or take --device cuda"):
        run_here(write_suite(tmp_path), tmp_path / "run", settings=["tf32=true"])
    assert not (tmp_path / "run").exists()
    check_arithmetic(replace(ASKED, precisions=frozenset({"bfloat16"})), torch.device("cpu"))


@pytest.mark.parametrize(("capability", "has"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_that_lacks_an_arithmetic_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], has: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has)
    cuda = torch.device("cuda")
    check_arithmetic(ASKED, cuda)
    for asked in (replace(ASKED, tf32=True), replace(ASKED, precisions=frozenset({"bfloat16"}))):
        if has:
            check_arithmetic(asked, cuda)
            continue
        with pytest.raises(UsageError, match="Tesla T4"):
            check_arithmetic(asked, cuda)
