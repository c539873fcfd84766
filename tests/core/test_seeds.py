import itertools
import os
import subprocess
import sys

from harness.core.seeds import derive, generator

PRINT_STREAM = """
from harness.core.seeds import derive, generator
print(derive("episode", "glyphs", 3), generator("initial", 0, "conv0.weight").integers(99, size=9).tolist())
"""


def test_streams_are_the_same_in_every_process_whatever_its_string_hash() -> None:
    here = (
        f"{derive('episode', 'glyphs', 3)} "
        f"{generator('initial', 0, 'conv0.weight').integers(99, size=9).tolist()}"
    )
    for hash_seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", PRINT_STREAM],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here


def test_a_stream_starts_afresh_at_every_call() -> None:
    first = generator("order", 1, 2)
    first.random(100)
    assert generator("order", 1, 2).random() == generator("order", 1, 2).random()


def test_different_words_name_different_streams() -> None:
    names = list(itertools.product(("episode", "minibatch"), ("train", "test"), range(4), range(50)))
    assert len({derive(*words) for words in names}) == len(names)
    assert len({generator(*words).integers(2**62) for words in names}) == len(names)


def test_the_order_of_words_counts() -> None:
    assert derive("a", 1, 2) != derive("a", 2, 1)


def test_a_derived_seed_is_a_63_bit_integer() -> None:
    seeds = [derive("seed", i) for i in range(200)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**60
