"""`innerloop new NAME`"""

import importlib.util
import keyword
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UsageError


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the method, such as my-method.")],
) -> int:
    """Write an adapter and its test into the current folder; they work, with three lines marked to change."""
    from harness.names import kebab, method_names
    from harness.templates import ADAPTER, NEXT, TEST

    module = name.replace("-", "_")
    cls = "".join(part[:1].upper() + part[1:] for part in module.split("_"))
    if not module.isidentifier() or not cls.isidentifier() or keyword.iskeyword(module):
        raise UsageError(
            f"new {name}: a method is named by letters, digits and hyphens, beginning with a letter, such as "
            "my-method."
        )
    label = kebab(cls)
    if label in method_names():
        raise UsageError(f"new {name}: there is a method '{label}' already; choose another name.")
    file, test = Path(f"{module}.py"), Path(f"test_{module}.py")
    for path in (file, test):
        if path.exists():
            raise UsageError(f"new {name}: {path} is there already; choose another name, or move it away.")
    if importlib.util.find_spec(module) is not None:
        raise UsageError(f"new {name}: {file} would hide the module '{module}'; choose another name.")
    words = {"name": label, "cls": cls, "module": module, "file": file, "test": test}
    for path, text in ((file, ADAPTER), (test, TEST)):
        with path.open("x", encoding="utf-8") as written:
            written.write(text.format(**words))
    typer.echo(NEXT.format(**words))
    return 0
