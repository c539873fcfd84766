"""Methods keep one look, and variants and peers of a method can be told apart, also where they coincide."""

from itertools import pairwise

import pytest

from harness.present.palette import METHODS, SPARE, Look, label_order, looks, with_lightness


def lightness(colour: str) -> float:
    """CIE L* of an sRGB colour."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    y = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 116 * y ** (1 / 3) - 16 if y > (6 / 29) ** 3 else y * (29 / 3) ** 3


def variants(*labels: str) -> list[Look]:
    found = looks((label.partition("[")[0], label) for label in labels)
    return [found[label] for label in labels]


def test_a_method_has_one_look_in_every_company() -> None:
    alone, together = looks([("imaml-hf", "imaml-hf")]), looks((name, name) for name in METHODS)
    assert alone["imaml-hf"] == together["imaml-hf"]
    assert looks([("mine", "mine")])["mine"] == looks([("mine", "mine"), ("maml", "maml")])["mine"]
    assert looks([("maml", "maml")])["maml"] == Look("#0072B2", "o")


def test_methods_differ_in_colour_and_marker() -> None:
    known = looks((name, name) for name in METHODS).values()
    assert len({look.colour for look in known}) == len({look.marker for look in known}) == len(METHODS)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_variants_darken_in_the_order_of_their_setting(count: int) -> None:
    """Ten L* between neighbours are seen at a glance, with any colour blindness and in grey."""
    shades = variants(*(f"imaml-gd[cg_steps={n}]" for n in (2, 5, 10, 20)[:count]))
    levels = [lightness(look.colour) for look in shades]
    assert all(light - dark > 10 for light, dark in pairwise(levels))
    assert max(levels) < 72  # to be seen on white
    assert len({look.marker for look in shades}) == 1


def test_variants_that_coincide_leave_a_rim_of_each_other() -> None:
    shades = variants(*(f"imaml-gd[cg_steps={n}]" for n in (2, 5, 10, 20)))
    for below, above in pairwise(shades):
        assert (below.width, below.size) > (above.width, above.size)
        assert below.height < above.height


def test_variants_that_differ_in_words_have_markers_of_their_own() -> None:
    names = ("accelerated", "adam", "gradient-descent", "nesterov")
    assert len({look.marker for look in variants(*(f"imaml-gd[optimiser={n}]" for n in names))}) == 4


def test_settings_are_ordered_as_numbers() -> None:
    labels = [f"imaml-gd[cg_steps={n}]" for n in (20, 2, 10, 5)]
    assert sorted(labels, key=lambda label: label_order("imaml-gd", label)) == [
        f"imaml-gd[cg_steps={n}]" for n in (2, 5, 10, 20)
    ]
    lams = [f"maml[lam={lam}]" for lam in ("1.0", "1e-05", "0.5")]
    assert sorted(lams, key=lambda label: label_order("maml", label))[0] == "maml[lam=1e-05]"


def test_peers_are_rings_and_dashes_around_the_methods_own_line() -> None:
    names = ("maml", "maml@higher", "maml@learn2learn", "maml@torchopt")
    found = looks((name, name) for name in names)
    own, *peers = (found[name] for name in names)
    assert own.colour == METHODS["maml"][0]
    assert own.filled
    assert (
        len({look.marker for look in (own, *peers)}) == len({str(look.dash) for look in (own, *peers)}) == 4
    )
    assert {look.face for look in peers} == {"none"}
    assert all(inner.size < outer.size for inner, outer in pairwise([own, *peers]))
    assert all(below.width > above.width for below, above in pairwise([own, *peers]))


def test_methods_of_a_users_own_differ_in_colour_first_and_then_in_marker() -> None:
    names = [f"method-{i}" for i in range(16)]
    found = list(looks((name, name) for name in names).values())
    assert len({look.colour for look in found}) == len(SPARE)
    assert len({(look.colour, look.marker) for look in found}) == 16


@pytest.mark.parametrize("colour", sorted({colour for colour, _ in METHODS.values()}))
def test_a_shade_has_the_lightness_that_was_asked_for(colour: str) -> None:
    for wanted in (20.0, 47.0, 75.0):
        assert lightness(with_lightness(colour, wanted)) == pytest.approx(wanted, abs=0.5)
