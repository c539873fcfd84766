"""Writes the Omniglot splits: `python harness/workloads/splits/make_splits.py`. Needs no images.

omniglot.json: all 1,623 characters in random order under SEED, 1,100 / 100 / 423 (Santoro et al. 2016 took
1,200 for training; the 100 for validation come off these). As published protocols do, it mixes alphabets.

omniglot-minimal.json: by alphabet, so that the alphabets of a test task are new; 154 / 22 / 66 characters.
"""

import json
from pathlib import Path

import numpy as np

SEED = 1623
TRAIN, VALIDATION = 1100, 100

CHARACTERS = {
    # images_background: 964
    "Alphabet_of_the_Magi": 20,
    "Anglo-Saxon_Futhorc": 29,
    "Arcadian": 26,
    "Armenian": 41,
    "Asomtavruli_(Georgian)": 40,
    "Balinese": 24,
    "Bengali": 46,
    "Blackfoot_(Canadian_Aboriginal_Syllabics)": 14,
    "Braille": 26,
    "Burmese_(Myanmar)": 34,
    "Cyrillic": 33,
    "Early_Aramaic": 22,
    "Futurama": 26,
    "Grantha": 43,
    "Greek": 24,
    "Gujarati": 48,
    "Hebrew": 22,
    "Inuktitut_(Canadian_Aboriginal_Syllabics)": 16,
    "Japanese_(hiragana)": 52,
    "Japanese_(katakana)": 47,
    "Korean": 40,
    "Latin": 26,
    "Malay_(Jawi_-_Arabic)": 40,
    "Mkhedruli_(Georgian)": 41,
    "N_Ko": 33,
    "Ojibwe_(Canadian_Aboriginal_Syllabics)": 14,
    "Sanskrit": 42,
    "Syriac_(Estrangelo)": 23,
    "Tagalog": 17,
    "Tifinagh": 55,
    # images_evaluation: 659
    "Angelic": 20,
    "Atemayar_Qelisayer": 26,
    "Atlantean": 26,
    "Aurek-Besh": 26,
    "Avesta": 26,
    "Ge_ez": 26,
    "Glagolitic": 45,
    "Gurmukhi": 45,
    "Kannada": 41,
    "Keble": 26,
    "Malayalam": 47,
    "Manipuri": 40,
    "Mongolian": 30,
    "Old_Church_Slavonic_(Cyrillic)": 45,
    "Oriya": 46,
    "Sylheti": 28,
    "Syriac_(Serto)": 23,
    "Tengwar": 25,
    "Tibetan": 42,
    "ULOG": 26,
}

MINIMAL = {
    "train": ("Greek", "Japanese_(katakana)", "Korean", "Latin", "Tagalog"),
    "validation": ("Early_Aramaic",),
    "test": ("Balinese", "Sanskrit"),
}


def characters(alphabet: str) -> list[str]:
    return [f"{alphabet}/character{number:02d}" for number in range(1, CHARACTERS[alphabet] + 1)]


def random_split() -> dict[str, list[str]]:
    """1,100 / 100 / 423 of all characters."""
    names = sorted(name for alphabet in CHARACTERS for name in characters(alphabet))
    # `random` of a Philox counter is stable across numpy versions; `permutation` need not be.
    order = np.random.Generator(np.random.Philox(SEED)).random(len(names)).argsort()
    shuffled = [names[index] for index in order]
    return {
        "train": sorted(shuffled[:TRAIN]),
        "validation": sorted(shuffled[TRAIN : TRAIN + VALIDATION]),
        "test": sorted(shuffled[TRAIN + VALIDATION :]),
    }


def alphabet_split() -> dict[str, list[str]]:
    """The minimal sets' eight alphabets, each in one split."""
    return {
        split: sorted(name for alphabet in alphabets for name in characters(alphabet))
        for split, alphabets in MINIMAL.items()
    }


def main() -> None:
    for name, split in (("omniglot", random_split()), ("omniglot-minimal", alphabet_split())):
        text = json.dumps(split, indent=1) + "\n"
        Path(__file__).with_name(f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
