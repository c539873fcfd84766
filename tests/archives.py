"""Archives with the layout in which Omniglot is published, their drawings made without an imaging library."""

import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIDE = 105
ROW = (SIDE + 7) // 8  # bytes of a row, one bit a pixel
PLACES = SIDE * (ROW - 1)  # whole bytes of ink that a page has room for

EVALUATION = {
    *("Angelic", "Atemayar_Qelisayer", "Atlantean", "Aurek-Besh", "Avesta", "Ge_ez", "Glagolitic"),
    *("Gurmukhi", "Kannada", "Keble", "Malayalam", "Manipuri", "Mongolian"),
    *("Old_Church_Slavonic_(Cyrillic)", "Oriya", "Sylheti", "Syriac_(Serto)", "Tengwar", "Tibetan", "ULOG"),
}
"""Alphabets of the evaluation set; all others are in the background set."""


def ink(number: int) -> NDArray[np.bool_]:
    """The drawing of that number, bool [105, 105]: one to eight pixels of ink in a row."""
    row, column = divmod(number % PLACES, ROW - 1)
    page = np.zeros((SIDE, SIDE), bool)
    page[row, 8 * column : 8 * column + 8] = [bit == "1" for bit in f"{_pattern(number):08b}"]
    return page


def png(number: int, side: int = SIDE) -> bytes:
    """That drawing as a PNG of one bit a pixel, ink black; `side` is what its header says."""
    page = bytearray(b"\xff" * ((ROW + 1) * SIDE))
    page[:: ROW + 1] = bytes(SIDE)  # each row begins with the number of its filter
    row, column = divmod(number % PLACES, ROW - 1)
    page[row * (ROW + 1) + 1 + column] ^= _pattern(number)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    body = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(page), 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in body)


def write_archive(folder: Path, archive: str, classes: Iterable[str], first: int = 1) -> Path:
    """A zip of `classes` ("Greek/character01"), 20 drawings each, which are numbered from `first` on."""
    path = folder / f"{archive}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        folders: set[str] = set()
        for index, name in enumerate(sorted(classes)):
            alphabet = name.partition("/")[0]
            for parent in (f"{archive}/", f"{archive}/{alphabet}/", f"{archive}/{name}/"):
                if parent not in folders:
                    folders.add(parent)
                    file.writestr(parent, "")
            for drawer in range(1, 21):
                number = first + 20 * index + drawer - 1
                file.writestr(f"{archive}/{name}/{index + 1:04d}_{drawer:02d}.png", png(number))
    return path


def write_runs(folder: Path, count: int) -> Path:
    """A folder of so many official runs, `run01` and on."""
    for run in range(1, count + 1):
        place = folder / f"run{run:02d}"
        lines = []
        for part, stem in (("training", "class"), ("test", "item")):
            (place / part).mkdir(parents=True)
            for i in range(1, 21):
                (place / part / f"{stem}{i:02d}.png").write_bytes(png(1000 * run + i))
        for i in range(1, 21):
            lines.append(f"run{run:02d}/test/item{i:02d}.png run{run:02d}/training/class{i:02d}.png\n")
        (place / "class_labels.txt").write_text("".join(lines))
    return folder


def _pattern(number: int) -> int:
    return 1 + number // PLACES % 255


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
