"""Draws the `glyphs` data set: letters of fifteen scripts as if by twenty hands.

    python -m harness.workloads.glyphs_drawing        redraws glyphs.npz and splits/glyphs.json (minutes)

Each letter of matplotlib's own fonts (DejaVu, STIX) is thinned to the path of its strokes, the path is bent
by a random affine map and a smooth displacement field, and redrawn with a pen of random width: 20 drawings a
class, in several faces, 28x28, one bit a pixel. The look to match is Omniglot's.

Everything follows from SEED, but FreeType versions rasterise differently, so the packed file is committed and
never redrawn at run time; it was drawn under the versions that it names in its `drawn_with` entry.

Fonts and licences: DejaVu (Bitstream Vera licence, with public-domain changes) and STIX (SIL Open Font
License 1.1) are free; neither asks anything of documents made with them. Both ship with matplotlib.
"""

import json
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import PIL
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features
from scipy import ndimage

from harness.workloads.imageset import DRAWINGS, SIDE, fingerprint

SEED = 20_151_210  # Omniglot's paper: Lake, Salakhutdinov, Tenenbaum, Science, December 2015
SUPERSAMPLING = 4  # the pen moves on a grid of 112x112; finer grids changed few pixels of the result
GRID = SIDE * SUPERSAMPLING
LETTER = (
    20 * SUPERSAMPLING
)  # the longer side of an undistorted letter, as in MNIST: leaves room for the affine map
POINTS = 160  # font size at which outlines are rasterised before they are fitted to LETTER

# Upright faces only: italics change the letter itself (Cyrillic te becomes an m); slant comes from the shear.
FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "STIXGeneral",
)

# Scripts by split, training first: a letter drawn alike in two scripts belongs to the script named first, so
# what is left to validation and test is new there. Scripts that borrow their forms from Latin and Greek
# (Cyrillic, Coptic, Lisu, Old Italic) stay with these. The key is how Unicode names begin.
SCRIPTS = {
    "train": {
        "LATIN": "Latin",
        "GREEK": "Greek",
        "CYRILLIC": "Cyrillic",
        "COPTIC": "Coptic",
        "LISU": "Lisu",
        "OLD ITALIC": "Old_Italic",
        "CANADIAN SYLLABICS": "Canadian_Syllabics",
    },
    "validation": {
        "TIFINAGH": "Tifinagh",
        "HEBREW": "Hebrew",
        "LAO": "Lao",
        "NKO": "N_Ko",
    },
    "test": {
        "GEORGIAN": "Georgian",
        "ARMENIAN": "Armenian",
        "ARABIC": "Arabic",
        "OGHAM": "Ogham",
    },
}

# Two letters are one class where no ink of either is farther than this from the other's. Looked at pair by
# pair: below 1.25 pixels they are case pairs and borrowed letters (Latin Zz, Greek omicron), above it letters
# that differ in a dot or a hook (Arabic qaf and qaf with dot above).
ALIKE = 1.25 * SUPERSAMPLING

# A part of the path no longer than DOT is a dot, and drawn with a wider pen: the thinnest pen's dot would
# vanish where it falls on the corner of four pixels (half of each needs a radius of 0.8), and many letters
# differ by nothing else.
DOT = 2 * SUPERSAMPLING
DOT_EXTRA = 0.35 * SUPERSAMPLING


@dataclass(frozen=True)
class Hand:
    """How far one drawing may stray from the letter; lengths in pixels of the 28x28 image.

    Chosen so that a pixel nearest-neighbour classifier gets 5-way 1-shot tasks right more often than not but
    is far from done (0.58; Omniglot's minimal sets: 0.37 to 0.44). Half as far again it falls to 0.43, but at
    one bit a pixel some letters are then hard to read by eye.
    """

    rotation: float = 0.20  # radians, half-width of a uniform law, as the three below
    shear: float = 0.20
    stretch: float = 0.15  # natural logarithm of the scale along each axis
    shift: float = 1.0
    bend: float = 0.85  # standard deviation of the displacement field ...
    bend_length: float = 4.0  # ... and its correlation length
    pen: tuple[float, float] = (1.6, 2.8)  # thinnest and widest stroke


HAND = Hand()


@dataclass(frozen=True)
class Letter:
    """One class: a code point of a script of a split."""

    character: str
    script: str
    split: str

    @property
    def name(self) -> str:
        return f"{self.script}/U+{ord(self.character):04X}"


# --- the letters ------------------------------------------------------------------------------------------


def candidates() -> Iterator[Letter]:
    """Letters of SCRIPTS that DejaVu Sans holds, in the order of SCRIPTS and then of code points.

    Lu, Ll, Lo only (modifier letters are small copies), and none that Unicode decomposes: base letters with a
    diacritic, ligatures and presentation forms are near copies of their parts.
    """
    held = sorted(chr(code) for code in charmap("DejaVuSans"))
    letters = [
        character
        for character in held
        if unicodedata.category(character) in ("Lu", "Ll", "Lo")
        and unicodedata.normalize("NFKD", character) == character
    ]
    for split, scripts in SCRIPTS.items():
        for prefix, script in scripts.items():
            for character in letters:
                if unicodedata.name(character, "").startswith(prefix + " "):
                    yield Letter(character, script, split)


def distinct(letters: list[Letter]) -> list[Letter]:
    """The first letter of every group that is drawn alike (capital and small o, Latin A and Greek Alpha).

    Alike: the Hausdorff distance of the two fitted outlines is at most ALIKE.
    """
    kept: list[Letter] = []
    inks: list[NDArray[np.intp]] = []
    distances: list[NDArray[np.float32]] = []
    for letter in letters:
        ink = outline(letter.character, "DejaVuSans")
        distance = ndimage.distance_transform_edt(~ink).astype(np.float32).ravel()
        points = np.flatnonzero(ink)
        if not any(
            other_distance[points].max() <= ALIKE and distance[other_points].max() <= ALIKE
            for other_points, other_distance in zip(inks, distances, strict=True)
        ):
            kept.append(letter)
            inks.append(points)
            distances.append(distance)
    return kept


def faces_of(character: str) -> list[str]:
    """The faces that hold the letter: none ever draws the box of a missing glyph."""
    return [face for face in FACES if ord(character) in charmap(face)]


@cache
def charmap(face: str) -> frozenset[int]:
    """Code points for which the face has a glyph of its own; glyph 0 is the box of a missing one."""
    return frozenset(code for code, glyph in FT2Font(str(font_file(face))).get_charmap().items() if glyph)


def font_file(face: str) -> Path:
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"


@cache
def font(face: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_file(face)), POINTS, layout_engine=ImageFont.Layout.BASIC)


# --- one drawing ------------------------------------------------------------------------------------------


def outline(character: str, face: str) -> NDArray[np.bool_]:
    """The letter as the font has it, filled: bool [GRID, GRID], its longer side LETTER, centred."""
    left, top, right, bottom = font(face).getbbox(character)
    canvas = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), character, fill=255, font=font(face))
    box = canvas.getbbox()
    if box is None:
        raise ValueError(f"{face} draws U+{ord(character):04X} without ink")
    ink = canvas.crop(box)
    scale = LETTER / max(ink.size)
    ink = ink.resize(
        (max(1, round(ink.width * scale)), max(1, round(ink.height * scale))), Image.Resampling.BOX
    )
    page = Image.new("L", (GRID, GRID))
    page.paste(ink, ((GRID - ink.width) // 2, (GRID - ink.height) // 2))
    return np.asarray(page) >= 128


@cache
def path_distance(character: str, face: str) -> NDArray[np.float32]:
    """Distance of every grid point to the path of the letter's strokes: float32 [GRID, GRID].

    Negative, down to -DOT_EXTRA, around dots.
    """
    path = thin(outline(character, face))
    distance = ndimage.distance_transform_edt(~path)
    parts, _ = ndimage.label(path, structure=np.ones((3, 3)))
    dots = np.zeros_like(path)
    for number, (rows, columns) in enumerate(ndimage.find_objects(parts), start=1):
        if max(rows.stop - rows.start, columns.stop - columns.start) <= DOT:
            dots |= parts == number
    if dots.any():
        distance = np.minimum(distance, ndimage.distance_transform_edt(~dots) - DOT_EXTRA)
    return distance.astype(np.float32)


def thin(ink: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Lines one point wide with the topology of `ink`.

    Zhang and Suen, A fast parallel algorithm for thinning digital patterns, CACM 27(3), 1984. Their algorithm
    erases a blob that comes down to 2x2 points, so every dot; here its middle stays.
    """
    parts, count_of_parts = ndimage.label(np.pad(ink, 1), structure=np.ones((3, 3)))
    ink = np.pad(ink, 1)
    while True:
        removed = 0
        for first, second in (((0, 2, 4), (2, 4, 6)), ((0, 2, 6), (0, 4, 6))):
            # P2..P9 of the paper: the neighbours clockwise from north.
            around = np.stack(
                [
                    np.roll(ink, shift, axis=(0, 1))
                    for shift in ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
                ]
            )
            count = around.sum(axis=0)
            crossings = sum((~here & there).astype(np.int8) for here, there in pairwise([*around, around[0]]))
            peeled = ink & (count >= 2) & (count <= 6) & (crossings == 1)
            peeled &= ~around[list(first)].all(axis=0) & ~around[list(second)].all(axis=0)
            ink = ink & ~peeled
            removed += int(peeled.sum())
        if removed == 0:
            break
    erased = np.setdiff1d(np.arange(1, count_of_parts + 1), parts[ink])
    for middle in ndimage.center_of_mass(parts > 0, parts, erased):
        ink[tuple(np.rint(middle).astype(int))] = True
    return ink[1:-1, 1:-1]


def draw(character: str, rng: np.random.Generator, hand: Hand = HAND) -> NDArray[np.bool_]:
    """One drawing of the letter, in a face and with a hand drawn from `rng`: bool [28, 28]."""
    faces = faces_of(character)
    distance = path_distance(character, faces[rng.integers(len(faces))])

    angle, shear = rng.uniform(-1, 1, 2) * (hand.rotation, hand.shear)
    stretch = np.exp(rng.uniform(-1, 1, 2) * hand.stretch)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    affine = turn @ np.array([[1.0, 0.0], [shear, 1.0]]) @ np.diag(stretch)
    shift = rng.uniform(-1, 1, 2) * hand.shift * SUPERSAMPLING

    bend = np.stack(
        [
            ndimage.gaussian_filter(
                rng.standard_normal((GRID, GRID)), hand.bend_length * SUPERSAMPLING, mode="wrap"
            )
            for _ in range(2)
        ]
    )
    bend *= hand.bend * SUPERSAMPLING / bend.std(axis=(1, 2), keepdims=True)

    # Where the ink of each point of the page comes from: the maps act on the page, not on the letter.
    centre = (GRID - 1) / 2
    page = np.indices((GRID, GRID)).reshape(2, -1) - centre
    source = affine @ page + centre + shift[:, None] + bend.reshape(2, -1)
    bent = ndimage.map_coordinates(distance, source, order=1, mode="nearest").reshape(GRID, GRID)

    radius = rng.uniform(*hand.pen) / 2 * SUPERSAMPLING
    ink = (bent <= radius).reshape(SIDE, SUPERSAMPLING, SIDE, SUPERSAMPLING).mean(axis=(1, 3))
    return ink >= 0.5


def runs_off_the_page(image: NDArray[np.bool_]) -> bool:
    """Whether ink lies on the outermost pixels."""
    return bool(image[[0, -1]].any() or image[:, [0, -1]].any())


def drawings(letter: Letter, taken: set[bytes]) -> NDArray[np.bool_]:
    """Twenty drawings, all unlike each other and unlike those `taken`, which grows: bool [20, 28, 28]."""
    images: list[NDArray[np.bool_]] = []
    attempt = 0
    while len(images) < DRAWINGS:
        image = draw(letter.character, np.random.default_rng([SEED, ord(letter.character), attempt]))
        attempt += 1
        key = np.packbits(image).tobytes()
        if image.any() and not runs_off_the_page(image) and key not in taken:
            taken.add(key)
            images.append(image)
    return np.stack(images)


# --- the files --------------------------------------------------------------------------------------------


def main() -> None:
    folder = Path(__file__).parent
    letters = sorted(distinct(list(candidates())), key=lambda letter: letter.name)
    taken: set[bytes] = set()
    images = np.empty((len(letters), DRAWINGS, SIDE, SIDE), dtype=bool)
    for row, letter in enumerate(letters):
        images[row] = drawings(letter, taken)
        path_distance.cache_clear()
        if row % 100 == 99:
            print(f"{row + 1} of {len(letters)} letters", file=sys.stderr)
    names = [letter.name for letter in letters]
    np.savez_compressed(
        folder / "glyphs.npz",
        names=np.array("\n".join(names)),
        bits=np.packbits(images),
        fingerprint=np.array(fingerprint(names, images.astype(np.uint8) * 255)),
        drawn_with=np.array(
            f"matplotlib {matplotlib.__version__}, Pillow {PIL.__version__}, "
            f"FreeType {features.version('freetype2')}"
        ),
    )
    split = {part: [letter.name for letter in letters if letter.split == part] for part in SCRIPTS}
    text = json.dumps(split, indent=1, ensure_ascii=False) + "\n"
    (folder / "splits" / "glyphs.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
