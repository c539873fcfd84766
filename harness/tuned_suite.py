"""A suite file with settings that a search has found: the file as its author wrote it, comments and all."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.environment import command_line
from harness.files import replace_file
from harness.measure_settings import SETTINGS
from harness.protocol import MethodSpec
from harness.settings import flat, format_settings, merged, parse_spec
from harness.suite import read_suite
from harness.suite_file import BY_METHOD

HEADER = """\
# Settings of {methods}: the best of {trials} trials each, judged by the
# {judged_by}.
# {command}
"""
EARLIER = re.compile(r"# Settings of (.+): the best of \d+ trials each, judged by the\n# .+\n# .+\n")


@dataclass(frozen=True)
class Winner:
    """A method as the suite or the command line asked for it, and as a search found it best."""

    label: str
    asked: MethodSpec
    best: MethodSpec


def write_tuned_suite(
    suite: str, target: Path, winners: Sequence[Winner], trials: int, judged_by: str
) -> None:
    """Write the suite of this name or path to `target`, with the winners' settings in its [methods].

    A winner takes the place of what was asked for, or of the one method of its name; beside several of that
    name it is added. What the file has besides stays: other methods, measures, comments. A comment at its top
    says where the settings are from, in place of what an earlier search of the same methods says there.
    """
    import tomlkit

    _, where, source, folder = read_suite(suite)
    labels = [winner.label for winner in winners]
    if (said := EARLIER.match(source)) and set(said[1].split(", ")) <= set(labels):
        source = source[said.end() :]
    document = tomlkit.parse(source)
    for table in _tables_by_method(document):  # a path starts from the suite's folder; this file has another
        for key in list(table):
            if ".py:" in key:
                table[_absolute(str(folder / key))] = table.pop(key)
    methods: Any = document["methods"]
    for key, winner in _places(methods, winners, where):
        bracketed = parse_spec(key, where)[1]
        methods[key] = _inline({k: v for k, v in winner.best.settings.items() if bracketed.get(k) != v})
    said_of_it = HEADER.format(
        methods=", ".join(labels), trials=trials, judged_by=judged_by, command=command_line()
    )
    replace_file(target, (said_of_it if winners else "") + tomlkit.dumps(document))


def _tables_by_method(document: Mapping[str, Any]) -> Iterator[Any]:
    """Every table of a suite whose keys are methods."""
    entries = [entry for entry in document["workloads"] if isinstance(entry, Mapping)]
    for top in (document, *entries):
        for holder in (top, *(top[measure] for measure in SETTINGS if measure in top)):
            yield from (holder[n] for n in ("methods", *BY_METHOD) if isinstance(holder.get(n), Mapping))


def _places(
    methods: Mapping[str, Any], winners: Sequence[Winner], where: str
) -> Iterator[tuple[str, Winner]]:
    """The key of [methods] under which each winner is to stand."""
    asked_there = {}
    for key, table in methods.items():
        name, bracketed = parse_spec(key, where)
        asked_there[key] = (name, merged(bracketed, table))
    rest = []
    for winner in winners:
        asked = (_absolute(winner.asked.name), winner.asked.settings)
        if key := next((key for key, there in asked_there.items() if there == asked), ""):
            del asked_there[key]
            yield key, winner
        else:
            rest.append(winner)
    for winner in rest:
        name = _absolute(winner.asked.name)
        alike = [key for key, there in asked_there.items() if there[0] == name]
        if len(alike) == 1:
            del asked_there[alike[0]]
            yield alike[0], winner
        else:
            yield name if name not in methods else f"{name}[{format_settings(winner.best.settings)}]", winner


def _absolute(name: str) -> str:
    """The name of a method, that of a file from anywhere."""
    return str(Path(name).resolve()) if ".py:" in name else name


def _inline(settings: Mapping[str, Any]) -> Any:
    """An inline table, with dotted keys for what is nested: `{ inner_lr = 0.4, outer.lr = 0.01 }`."""
    import tomlkit

    pairs = ", ".join(f"{key} = {tomlkit.item(value).as_string()}" for key, value in flat(settings).items())
    return tomlkit.parse(f"table = {{ {pairs} }}")["table"]
