"""What a method returned, held against its contract before it is used."""

from torch import Tensor

from harness.adapter_files import defined_at
from harness.core.method import Method
from harness.core.trees import Params


class WrongReturn(Exception):
    """A method returned what its contract does not allow: where and what, in a sentence with the remedy."""


def check_returned(returned: object, wanted: Params, tasks: int, call: str, method: Method) -> None:
    """Raise WrongReturn for what is no result of `tasks` tasks in names, shapes and types of `wanted` [...].

    `call` is the name of the method's function that returned it.
    """

    def wrong(what: str) -> WrongReturn:
        return WrongReturn(f"{defined_at(type(method), call)}: {call} {what}")

    if not isinstance(returned, dict):
        raise wrong(f"returned {type(returned).__name__}, not a dictionary of tensors [T, ...]")
    if returned.keys() != wanted.keys():
        names = ", ".join(sorted(map(str, returned.keys() ^ wanted.keys())))
        whose = "`meta`" if call == "meta_gradient" else "the model"
        raise wrong(f"must return the names of {whose}; missing or too many: {names}")
    for name, p in wanted.items():
        if not isinstance(returned[name], Tensor):
            raise wrong(f"returned '{name}' as {type(returned[name]).__name__}, not as a tensor [T, ...]")
        shape, expected = tuple(returned[name].shape), (tasks, *p.shape)
        if shape != expected:
            raise wrong(f"returned '{name}' as {shape}, not as [T, ...] = {expected}")
        if returned[name].dtype != p.dtype:
            raise wrong(f"returned '{name}' in {returned[name].dtype}, not in the {p.dtype} of `meta`")
