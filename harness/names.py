"""What methods are called: built-in names, names that installed packages offer, names made of a class.

No torch here: the parent reads them too.
"""

import re
from importlib.metadata import entry_points

import methods

ENTRY_POINTS = "innerloop.methods"


def method_names() -> dict[str, str]:
    """Known names -> `module:class`: built in first, then those that installed packages offer."""
    offered = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    own = methods.BUILT_IN | methods.OVER_LIBRARIES
    return own | {name: home for name, home in offered.items() if name not in own}


def kebab(name: str) -> str:
    """`MyMethod` as `my-method`, `ImamlGD` as `imaml-gd`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()
