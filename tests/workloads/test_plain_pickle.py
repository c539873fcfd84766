import base64
import codecs
import collections
import contextlib
import io
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.workloads.plain_pickle import Array, NotPlain, read_arrays

CUBE = (np.arange(2 * 3 * 4) * 11).astype(np.uint8).reshape(2, 3, 4)
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

PYTHON_2 = {
    0: (
        "KGRwMQpTJ2ltYWdlX2RhdGEnCnAyCmNudW1weS5jb3JlLm11bHRpYXJyYXkKX3JlY29uc3RydWN0CnAzCihjbnVtcHkKbmRh"
        "cnJheQpwNAooSTAKdFMnYicKdFJwNQooSTEKKEkyCkkzCkk0CnRjbnVtcHkKZHR5cGUKcDYKKFMndTEnCkkwCkkxCnRScDcK"
        "KEkzClMnfCcKTk5OSS0xCkktMQpJMAp0YkkwMApTJ1x4MDBceDBiXHgxNiEsN0JNWGNueVx4ODRceDhmXHg5YVx4YTVceGIw"
        "XHhiYlx4YzZceGQxXHhkY1x4ZTdceGYyXHhmZCcKdGJzUydjbGFzc19kaWN0JwpwOAooZHA5ClMnbjEzMTMzNjEzJwpwMTAK"
        "KGxwMTEKY251bXB5LmNvcmUubXVsdGlhcnJheQpzY2FsYXIKcDEyCihnNgooUydpOCcKSTAKSTEKdFJwMTMKKEkzClMnPCcK"
        "Tk5OSS0xCkktMQpJMAp0YlMnXHgwMVx4MDBceDAwXHgwMFx4MDBceDAwXHgwMFx4MDAnCnRScDE0CmFzUyduMDE1MzI4Mjkn"
        "CnAxNQoobHAxNgpJMAphc3NTJ3dvcmQnCnAxNwpWbuQKcDE4CnMu"
    ),
    1: (
        "fXEBKFUKaW1hZ2VfZGF0YXECY251bXB5LmNvcmUubXVsdGlhcnJheQpfcmVjb25zdHJ1Y3QKcQMoY251bXB5Cm5kYXJyYXkK"
        "cQQoSwB0VQFidFJxBShLAShLAksDSwR0Y251bXB5CmR0eXBlCnEGKFUCdTFLAEsBdFJxByhLA1UBfE5OTkr/////Sv////9L"
        "AHRiSTAwClUYAAsWISw3Qk1YY255hI+apbC7xtHc5/L9dGJVCmNsYXNzX2RpY3RxCH1xCShVCW4xMzEzMzYxM3EKXXELY251"
        "bXB5LmNvcmUubXVsdGlhcnJheQpzY2FsYXIKcQwoaAYoVQJpOEsASwF0UnENKEsDVQE8Tk5OSv////9K/////0sAdGJVCAEA"
        "AAAAAAAAdFJxDmFVCW4wMTUzMjgyOXEPXXEQSwBhdVUEd29yZHERWAMAAABuw6RxEnUu"
    ),
    2: (
        "gAJ9cQEoVQppbWFnZV9kYXRhcQJjbnVtcHkuY29yZS5tdWx0aWFycmF5Cl9yZWNvbnN0cnVjdApxA2NudW1weQpuZGFycmF5"
        "CnEESwCFVQFih1JxBShLAUsCSwNLBIdjbnVtcHkKZHR5cGUKcQZVAnUxSwBLAYdScQcoSwNVAXxOTk5K/////0r/////SwB0"
        "YolVGAALFiEsN0JNWGNueYSPmqWwu8bR3Ofy/XRiVQpjbGFzc19kaWN0cQh9cQkoVQluMTMxMzM2MTNxCl1xC2NudW1weS5j"
        "b3JlLm11bHRpYXJyYXkKc2NhbGFyCnEMaAZVAmk4SwBLAYdScQ0oSwNVATxOTk5K/////0r/////SwB0YlUIAQAAAAAAAACG"
        "UnEOYVUJbjAxNTMyODI5cQ9dcRBLAGF1VQR3b3JkcRFYAwAAAG7DpHESdS4="
    ),
}
"""By protocol, in base 64: what Python 2.7.18 with numpy 1.16.6 wrote of {"image_data": CUBE, "class_dict":
{"n01532829": [0], "n13133613": [numpy.int64(1)]}, "word": u"n\u00e4"}."""


def read(content: bytes) -> Any:
    return read_arrays(io.BytesIO(content), len(content))


def values(array: Any) -> np.ndarray:
    assert isinstance(array, Array)
    assert array.values is not None
    return array.values


def refused(content: bytes) -> str:
    with pytest.raises(NotPlain) as failure:
        read(content)
    return str(failure.value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["u1", "i1", "<i4", ">i4", "<i8", ">u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back(protocol: int, kind: str, order: Any) -> None:
    array = np.array(CUBE, kind, order=order)
    found = values(read(pickle.dumps(array, protocol)))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_containers_come_back(protocol: int) -> None:
    content = {
        "class_dict": collections.OrderedDict(n1=[0, 1], n2=(2,)),
        "labels": [np.int64(3), 4],
        "other": [None, True, 1.5, b"\xff", "\u00e4", 2**40, {}],
    }
    found = read(pickle.dumps(content, protocol))
    assert found == {**content, "labels": [3, 4], "class_dict": {"n1": [0, 1], "n2": (2,)}}


@pytest.mark.parametrize("protocol", PYTHON_2)
def test_what_python_2_wrote_is_read(protocol: int) -> None:
    found = read(base64.b64decode(PYTHON_2[protocol]))
    np.testing.assert_array_equal(values(found[b"image_data"]), CUBE)
    assert found[b"class_dict"] == {b"n01532829": [0], b"n13133613": [1]}
    assert found[b"word"] == "n\u00e4"


def test_the_names_of_numpy_1_and_2_are_known() -> None:
    new = pickle.dumps([CUBE, np.int64(1)], 2)
    assert b"numpy._core.multiarray" in new
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    for content in (new, old):
        array, number = read(content)
        np.testing.assert_array_equal(values(array), CUBE)
        assert number == 1


class Calls:
    """What a hostile pickle is made of: any function with any arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.called = (function, arguments)

    def __reduce__(self) -> Any:
        return self.called


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_code_in_a_pickle_is_named_and_does_not_run(tmp_path: Path, protocol: int) -> None:
    victim = tmp_path / "victim"
    content = pickle.dumps({"image_data": CUBE, "x": Calls(os.system, f"touch {victim}")}, protocol)
    pickle.loads(content)
    assert victim.exists(), "it is hostile"
    victim.unlink()
    assert "names posix.system, which is neither" in refused(content)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (eval, ("1",), "eval"),
        (exec, ("1",), "exec"),
        (getattr, ("", "join"), "getattr"),
        (__import__, ("os",), "__import__"),
        (np.load, ("x",), "numpy.load"),
        (bytearray, (10**12,), "bytearray"),
        (np.zeros, (10**12,), "numpy.zeros"),
    ],
)
def test_no_other_function_is_reached(function: Any, arguments: tuple[Any, ...], name: str) -> None:
    assert name in refused(pickle.dumps(Calls(function, *arguments), 2))


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x04\x8c\x05numpy\x8c\x0fdtype.__class__\x93.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
    ],
    ids=["GLOBAL", "INST", "STACK_GLOBAL", "attribute", "globals"],
)
def test_every_way_to_name_something_is_watched(content: bytes) -> None:
    pickletools.dis(content, io.StringIO())
    assert "neither an array nor a plain container" in refused(content)


def test_objects_outside_and_extensions_are_refused() -> None:
    assert "outside itself" in refused(b"Pid\n.")
    assert refused(b"\x80\x02\x82\x01.")


@pytest.mark.parametrize("kind", ["f4", "O", "U3", "datetime64[s]", [("a", "u1")]])
def test_arrays_of_something_else_are_refused(kind: Any) -> None:
    assert "whole numbers" in refused(pickle.dumps(np.zeros(3, kind), 2))


@pytest.mark.parametrize("state", [(2, 3, 5), (2, 3, 10**15), (-2, -3, 4), (True, 24), "ab"])
def test_a_shape_that_is_not_that_of_the_bytes_is_refused(state: Any) -> None:
    function, arguments, (version, _, kind, fortran, content) = CUBE.__reduce__()

    class Lying:
        def __reduce__(self) -> Any:
            return function, arguments, (version, state, kind, fortran, content)

    assert "an array of" in refused(pickle.dumps(Lying(), 2))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_truncation_is_refused(protocol: int) -> None:
    content = pickle.dumps({"image_data": CUBE, "class_dict": {"n1": [0, 1]}}, protocol)
    for length in range(len(content)):
        assert refused(content[:length])


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8e" + (2**60).to_bytes(8, "little") + b"abc.",
        b"\x80\x05\x96" + (2**60).to_bytes(8, "little") + b"abc.",
        b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"abc.",
        b"\x80\x02]r\xff\xff\xff\x7f0.",
    ],
    ids=["bytes", "bytearray", "frame", "memo"],
)
def test_a_number_in_a_pickle_asks_for_no_memory(content: bytes) -> None:
    assert refused(content)


def test_one_text_does_not_become_many_bytes() -> None:
    text = "\u00e4" * 10_000
    many = [Calls(codecs.encode, text, "latin1") for _ in range(5)]
    assert "more bytes than it has" in refused(pickle.dumps(many, 2))


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_is_refused_or_harmless(seed: int) -> None:
    draw = np.random.default_rng(seed)
    good = pickle.dumps({"image_data": CUBE, "class_dict": {"n1": [0, 1]}}, int(draw.integers(6)))
    for _ in range(500):
        bad = bytearray(good)
        for _ in range(int(draw.integers(1, 4))):
            bad[int(draw.integers(len(bad)))] = int(draw.integers(256))
        with contextlib.suppress(NotPlain):
            read(bytes(bad))
