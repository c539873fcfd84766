from dataclasses import dataclass
from typing import Any, Literal

import pytest

from harness.core.outer import RULES, SGD, Adam, Interpolate
from harness.errors import UsageError
from harness.settings import (
    build,
    format_settings,
    parse_spec,
    parse_value,
    set_dotted,
    settings_of,
    split_outside_brackets,
    telling_apart,
)
from methods.imaml import ImamlGD
from methods.maml import MAML
from methods.reptile import Reptile


@dataclass(frozen=True, kw_only=True)
class Kiln:
    degrees: float = 900.0
    hours: int = 4
    glaze: Literal["ash", "salt"] = "ash"
    closed: bool = True
    outer: Adam = Adam()

    def __post_init__(self) -> None:
        if self.hours < 1:
            raise ValueError(f"hours must be at least 1, not {self.hours}")


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("maml", "maml", {}),
        ("maml[]", "maml", {}),
        (" maml [ inner_lr = 0.5 ] ", "maml", {"inner_lr": 0.5}),
        ("imaml-gd[cg_steps=10,lam=1.0]", "imaml-gd", {"cg_steps": 10, "lam": 1.0}),
        ("imaml-gd[optimiser=adam]", "imaml-gd", {"optimiser": "adam"}),
        ('imaml-gd[optimiser="adam"]', "imaml-gd", {"optimiser": "adam"}),
        ("glyphs[rotations=false,norm=batch-stats]", "glyphs", {"rotations": False, "norm": "batch-stats"}),
        ("maml[outer.lr=1e-2]", "maml", {"outer": {"lr": 0.01}}),
        ("maml[outer.rule=sgd,outer.lr=0.1]", "maml", {"outer": {"rule": "sgd", "lr": 0.1}}),
        ('maml[outer={rule="sgd", lr=0.1},lam=2]', "maml", {"outer": {"rule": "sgd", "lr": 0.1}, "lam": 2}),
        ("a/b.py:Mine[x=[1, 2],y=3]", "a/b.py:Mine", {"x": [1, 2], "y": 3}),
    ],
)
def test_a_spec_is_a_name_with_settings_in_brackets(text: str, name: str, settings: dict[str, Any]) -> None:
    assert parse_spec(text, "--method") == (name, settings)


@pytest.mark.parametrize("text", ["", "[lam=1]", "maml[lam=1", "maml[lam=1]x", "maml]"])
def test_what_is_no_spec_is_refused_with_the_form_it_should_have(text: str) -> None:
    with pytest.raises(UsageError, match=r"--method: .* write NAME or NAME\[key=value,...\]"):
        parse_spec(text, "--method")


@pytest.mark.parametrize("part", ["lam", "=1", " = 1"])
def test_a_setting_without_key_or_value_is_refused(part: str) -> None:
    with pytest.raises(UsageError, match="is not a setting; write key=value"):
        parse_spec(f"maml[inner_lr=1.0,{part}]", "--method")


def test_commas_inside_brackets_do_not_split() -> None:
    assert split_outside_brackets("a=[1,2],b={c=(3,4)},,d") == ["a=[1,2]", "b={c=(3,4)}", "d"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("1e-3", 1e-3), ("true", True), ("[1, 2]", [1, 2]), ("max-pool", "max-pool"), ('"1"', "1")],
)
def test_values_are_toml_and_bare_words_strings(text: str, value: Any) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_dotted_keys_nest_as_in_toml() -> None:
    table: dict[str, Any] = {"outer": {"rule": "sgd"}}
    set_dotted(table, "outer.lr", 0.1)
    set_dotted(table, "a.b.c", 1)
    assert table == {"outer": {"rule": "sgd", "lr": 0.1}, "a": {"b": {"c": 1}}}


@pytest.mark.parametrize(
    "instance",
    [
        MAML(inner_steps=3),
        MAML(inner_steps=3, lam=2.0, outer=SGD(lr=0.5, momentum=0.9)),
        ImamlGD(inner_steps=3, optimiser="nesterov", outer=Adam(lr=1e-4, eps=1e-3)),
        Reptile(inner_steps=3),
        Reptile(inner_steps=3, outer=Interpolate(rate=0.1, anneal=False)),
        Reptile(inner_steps=3, outer=Adam()),
    ],
    ids=repr,
)
def test_build_makes_the_same_instance_of_its_settings(instance: Any) -> None:
    plain = settings_of(instance, RULES)
    assert list(plain) == sorted(plain)
    assert build(type(instance), plain, "here", RULES) == instance


def test_settings_of_an_outer_rule_name_it() -> None:
    outer = settings_of(Reptile(inner_steps=1), RULES)["outer"]
    assert outer == {"rule": "interpolate", "anneal": True, "rate": 1.0}


def test_flat_settings_survive_being_written_in_brackets() -> None:
    settings = {"closed": False, "degrees": 1e-05, "glaze": "salt", "hours": 3}
    assert parse_spec(f"kiln[{format_settings(settings)}]", "here") == ("kiln", settings)


def test_a_nested_table_changes_only_what_it_names() -> None:
    assert build(Kiln, {"outer": {"lr": 0.5}}, "here").outer == Adam(lr=0.5)
    method: Any = build(Reptile, {"inner_steps": 1, "outer": {"anneal": False}}, "here", RULES)
    assert method.outer == Interpolate(rate=1.0, anneal=False)


def test_a_rule_starts_from_its_own_defaults() -> None:
    method: Any = build(MAML, {"inner_steps": 1, "outer": {"rule": "sgd", "momentum": 0.5}}, "here", RULES)
    assert method.outer == SGD(momentum=0.5)


def test_whole_numbers_serve_as_floats_and_become_them() -> None:
    degrees = build(Kiln, {"degrees": 800}, "here").degrees
    assert degrees == 800.0
    assert type(degrees) is float


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"degress": 1}, "here: setting 'degress' is unknown; did you mean 'degrees'"),
        (
            {"zzz": 1},
            "here: setting 'zzz' is unknown; its settings are: closed, degrees, glaze, hours, outer",
        ),
        ({"hours": 2.5}, "here: setting 'hours' cannot be 2.5: .*integer"),
        ({"hours": "2"}, "here: setting 'hours' cannot be '2': .*integer"),
        ({"hours": True}, "here: setting 'hours' cannot be True: .*integer"),
        ({"closed": 1}, "here: setting 'closed' cannot be 1: .*boolean"),
        ({"glaze": "lead"}, "here: setting 'glaze' cannot be 'lead': .*'ash' or 'salt'"),
        ({"hours": 0}, "here: hours must be at least 1, not 0"),
        ({"outer": {"rl": 1}}, "here: outer: setting 'rl' is unknown; "),
        ({"outer": {"lr": "big"}}, "here: outer: setting 'lr' cannot be 'big'"),
        ({"outer": 3}, "here: outer takes a table of settings, such as {lr = 1e-3}, not 3"),
        ({"outer": {"rule": "adamm"}}, "here: outer: rule 'adamm' is unknown; did you mean 'adam'"),
    ],
)
def test_what_does_not_fit_is_an_error_with_place_and_remedy(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build(Kiln, settings, "here", RULES)


def test_variants_are_told_apart_by_one_setting_where_one_is_enough() -> None:
    by_one = [
        {"optimiser": "adam", "lr": 0.1},
        {"optimiser": "nesterov", "lr": 1.0},
        {"optimiser": "sgd", "lr": 1.0},
    ]
    assert telling_apart(by_one) == ["optimiser"]
    by_two = [
        {"optimiser": "adam", "lr": 0.1},
        {"optimiser": "adam", "lr": 1.0},
        {"optimiser": "sgd", "lr": 1.0},
    ]
    assert telling_apart(by_two) == ["lr", "optimiser"]
    assert telling_apart(by_one[:1]) == []


def test_a_number_beside_others_that_differ_makes_no_series_of_what_is_none() -> None:
    variants = [{"cg": 2, "lam": 1.0}, {"cg": 5, "lam": 1.0}, {"cg": 10, "lam": 2.0}]
    assert telling_apart(variants) == ["cg", "lam"]
