"""Episodes and fingerprints as they were when the first results were recorded: rows of old runs speak of
these images, so a change here makes them incomparable and must be meant."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from harness.core.episodes import TaskBatch
from harness.workloads.base import Split
from harness.workloads.glyphs import Glyphs
from harness.workloads.images import FewShotImages, ImageTasks
from harness.workloads.imageset import ImageSet
from harness.workloads.linear_regression import LinearRegression
from harness.workloads.omniglot import Omniglot, OmniglotMinimal
from harness.workloads.sinusoid import Sinusoid

GLYPHS = (
    "bb1b636130f061d2a9909e99d83ac3efa79ffeec6a0cf916ccaf663437203541"
    ":b3bdc8210f765c20dfe55e26cc8930b905ad2510b5c8b071856a7ece16ceadb9"
)
MINIMAL = (
    "b37eb4770a6e6caa6dd639d12fc10dbca849bc4733f3767c97b1ae49e85bb830"
    ":04825bd72e405dce57380fecb8e4c162304f71aa90e1b2b036d09a4c3fb64083"
)

Recorded = dict[str, tuple[str, int]]  # split -> hash of episodes 40 to 45 under seed 3, seed of the first

FIVE_WAY = {
    Glyphs: {
        "train": ("dd1958ad03b29dd8", 3677347758267981859),
        "validation": ("eab7588304bade39", 86708750157466866),
        "test": ("e2836949a6114a09", 900858410611447467),
    },
    OmniglotMinimal: {
        "train": ("d6fdc83c6982bb70", 2154624097514477355),
        "validation": ("ec33bf4a9b17f9ae", 1088083368554403427),
        "test": ("d1e3d65e82384d5b", 4396434857861037680),
    },
}
TWENTY_WAY = {
    Glyphs: {
        "train": ("4f21684941104d81", 4509479550765764864),
        "validation": ("d8ac6c42388cdb9a", 1154946548234478912),
        "test": ("41f3a158f649382e", 1040295344103171379),
    },
    OmniglotMinimal: {
        "train": ("7a35e9bd28634e7a", 2443898192662452425),
        "validation": ("d764db7d7ead7576", 2022656548070665472),
        "test": ("d080f7f8c91b2b4c", 4527468472610422210),
    },
}


def digest(batch: TaskBatch) -> str:
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in batch.tensors())).hexdigest()[:16]


def check(workload: FewShotImages, data_root: Path | None, fingerprint: str, recorded: Recorded) -> None:
    tasks = workload.open(data_root)
    assert tasks.fingerprint == fingerprint
    for split in ("train", "validation", "test"):
        batch = tasks.sample(split, 3, 40, 6)
        assert (digest(batch), batch.seeds[0]) == recorded[split]


@pytest.mark.parametrize("recorded", [FIVE_WAY, TWENTY_WAY], ids=["5-way", "20-way"])
def test_glyph_episodes_are_those_of_the_recorded_runs(recorded: dict[type, Recorded]) -> None:
    check(workload(Glyphs, recorded), None, GLYPHS, recorded[Glyphs])


@pytest.mark.parametrize("recorded", [FIVE_WAY, TWENTY_WAY], ids=["5-way", "20-way"])
def test_omniglot_episodes_are_those_of_the_recorded_runs(
    real_omniglot: Path, recorded: dict[type, Recorded]
) -> None:
    check(workload(OmniglotMinimal, recorded), real_omniglot, MINIMAL, recorded[OmniglotMinimal])


def workload(cls: type[FewShotImages], recorded: dict[type, Recorded]) -> FewShotImages:
    return cls(ways=20, shots=1, queries=5) if recorded is TWENTY_WAY else cls()


def noise(classes: int) -> np.ndarray:
    """Images that are all different, from a generator whose bits are the same in every version."""
    pixels = np.random.Philox(classes).random_raw(classes * 20 * 98).view(np.uint8)
    return pixels.reshape(classes, 20, 28, 28)


@pytest.mark.parametrize(
    ("split", "recorded"),
    [("train", "9badecfebb1af7dc"), ("validation", "ce8669b94504d5d0"), ("test", "7629c6c15ad83d81")],
)
def test_omniglot_draws_the_classes_turns_and_drawings_that_it_drew(split: Split, recorded: str) -> None:
    """Of as many classes as Omniglot's split has, whatever their images: the real ones are not at hand."""
    sizes = {"train": 1100, "validation": 100, "test": 423}
    images = ImageSet.of([f"class{i:04}" for i in range(1623)], np.concatenate([*map(noise, sizes.values())]))
    rows = {"train": np.arange(1100), "validation": np.arange(1100, 1200), "test": np.arange(1200, 1623)}
    batch = ImageTasks(Omniglot(ways=20), images, rows, "").sample(split, 3, 1000, 3)
    content = repr(batch.seeds).encode() + b"".join(t.numpy().tobytes() for t in batch.tensors())
    assert hashlib.sha256(content).hexdigest()[:16] == recorded


@pytest.mark.parametrize(
    ("split", "recorded"),
    [
        ("train", ["e259ae2914f7842b", "83f7edc6c10893cd"]),
        ("validation", ["02e1ee8672796975", "04cc83e5d825e1e9"]),
        ("test", ["310121d444905c57", "0d2e94565dc8c5c4"]),
    ],
)
def test_the_seeds_of_regression_episodes_are_those_recorded(split: Split, recorded: list[str]) -> None:
    """Drawn after their values, which pass through a sine and a matrix product: the last bits of those are
    the machine's own."""
    drawn = [workload.open(None).sample(split, 3, 1000, 3) for workload in (Sinusoid(), LinearRegression())]
    assert [hashlib.sha256(repr(batch.seeds).encode()).hexdigest()[:16] for batch in drawn] == recorded
