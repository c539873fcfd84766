"""A suite file with settings that a search has found: the file as its author wrote it, comments and all."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.files import replace_file
from harness.protocol import MethodSpec
from harness.settings import flat, parse_spec
from harness.suite import read_suite


def write_tuned_suite(suite: str, target: Path, winners: Iterable[MethodSpec], header: str) -> None:
    """Write the suite of this name or path to `target`, with the winners' settings in its [methods].

    A winner takes the place of the one method of its name; beside several of that name it is added. What the
    file has besides stays: other methods, measures, comments. `header` becomes a comment at its top.
    """
    import tomlkit

    _, where, source, folder = read_suite(suite)
    document = tomlkit.parse(source)
    methods: Any = document["methods"]
    for key in list(methods):  # a path starts from the suite's folder, and this file lies in another
        if ".py:" in key:
            methods[str((folder / key).resolve())] = methods.pop(key)
    for winner in winners:
        name = str(Path(winner.name).resolve()) if ".py:" in winner.name else winner.name
        alike = [key for key in methods if parse_spec(key, where)[0] == name]
        if len(alike) == 1:
            bracketed = parse_spec(alike[0], where)[1]
            own = {k: v for k, v in winner.settings.items() if bracketed.get(k) != v}
            methods[alike[0]] = _inline(own)
        else:
            methods[name] = _inline(winner.settings)
    text = "".join(f"# {line}\n" for line in header.splitlines()) + tomlkit.dumps(document)
    replace_file(target, text)


def _inline(settings: Mapping[str, Any]) -> Any:
    """An inline table, with dotted keys for what is nested: `{ inner_lr = 0.4, outer.lr = 0.01 }`."""
    import tomlkit

    pairs = ", ".join(f"{key} = {tomlkit.item(value).as_string()}" for key, value in flat(settings).items())
    return tomlkit.parse(f"table = {{ {pairs} }}")["table"]
