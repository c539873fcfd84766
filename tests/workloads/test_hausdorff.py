import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import cdist

from harness.workloads.hausdorff import ink_points, mean_distances, nearest_by_hausdorff
from harness.workloads.official_runs import OfficialRuns

PUBLISHED = 0.388  # the error on all twenty runs that the dataset's demonstration states


def ink(*points: tuple[int, int]) -> np.ndarray:
    drawing = np.zeros((105, 105), bool)
    for row, column in points:
        drawing[row, column] = True
    return drawing


def test_points_are_pixels_from_their_mean() -> None:
    np.testing.assert_array_equal(ink_points(ink((10, 20), (14, 20), (12, 26))), [[-2, -2], [0, 4], [2, -2]])


def test_the_mean_distance_is_to_the_nearest_point_of_the_centred_other() -> None:
    """By hand: two points 4 apart lie at -2 and 2; three in the same line, 4 apart, at -4, 0 and 4."""
    two, three = ink((10, 10), (14, 10)), ink((50, 60), (54, 60), (58, 60))
    found = mean_distances(np.stack([two, three]), np.stack([two, three]))
    np.testing.assert_allclose(found, [[0, 2], [2, 0]], atol=1e-12)
    one = ink((3, 3))  # its point is the origin: 2 from both of two; 4, 0 and 4 from three
    np.testing.assert_allclose(mean_distances(np.stack([two, three]), one[None])[:, 0], [2, 8 / 3])
    np.testing.assert_allclose(mean_distances(one[None], np.stack([two, three]))[0], [2, 0], atol=1e-12)


def test_the_larger_of_the_two_directions_decides() -> None:
    """Of three points in line, the origin alone is 0 one way and 8/3 the other, two points are 2 and 2."""
    one, two, three = ink((3, 3)), ink((10, 10), (14, 10)), ink((50, 60), (54, 60), (58, 60))
    assert nearest_by_hausdorff(three[None], np.stack([one, two])).tolist() == [1]
    assert nearest_by_hausdorff(np.stack([one, two]), np.stack([three, two, one])).tolist() == [2, 1]


def test_of_equals_the_first_is_taken() -> None:
    one = ink((3, 3))
    assert nearest_by_hausdorff(one[None], np.stack([ink((9, 9), (9, 10)), one, one])).tolist() == [1]


def demonstration_error(archive: zipfile.ZipFile, run: str) -> float:
    """The error of one run as the dataset's demonstration counts it: every pair of files, all distances."""

    def points(name: str) -> np.ndarray:
        grey = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L"))
        inked = np.array(np.where(grey == 0), float).T
        return inked - inked.mean(axis=0)

    pairs = [line.split() for line in archive.read(f"{run}/class_labels.txt").decode().splitlines()]
    training = {character: points(character) for character in sorted(character for _, character in pairs)}
    errors = 0
    for item, character in pairs:
        own = points(item)
        cost = {}
        for name, other in training.items():
            distances = cdist(own, other)
            cost[name] = max(distances.min(axis=1).mean(), distances.min(axis=0).mean())
        errors += min(cost, key=cost.__getitem__) != character
    return errors / len(pairs)


@pytest.mark.parametrize(
    "number", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 11) if n != 4)]
)
def test_the_floor_errs_on_each_published_run_as_the_demonstration(number: int, real_omniglot: Path) -> None:
    floor = OfficialRuns().open(real_omniglot).floors(0, 10)["hausdorff_accuracy"]
    with zipfile.ZipFile(real_omniglot / "one_shot_runs_01_to_10.zip") as archive:
        expected = demonstration_error(archive, f"run{number:02d}")
    assert 1 - float(floor[number - 1]) == pytest.approx(expected, abs=1e-12)


def test_on_the_ten_runs_at_hand_the_floor_is_near_what_is_published_of_all_twenty(
    real_omniglot: Path,
) -> None:
    floors = OfficialRuns().open(real_omniglot).floors(0, 10)
    error = 1 - floors["hausdorff_accuracy"]
    print(f"errors of the ten runs: {[round(e, 2) for e in error.tolist()]}, mean {error.mean():.3f}")
    assert abs(float(error.mean()) - PUBLISHED) < 2 * float(error.std()) / 10**0.5
    assert floors["neighbour_accuracy"].mean() < floors["hausdorff_accuracy"].mean()
