"""The settings of torch that a number may depend on: fixed in one place, told as they then are."""

import torch


def fix_numerics(threads: int, deterministic: bool, tf32: bool = False) -> None:
    """Fix them for this process, so that equal cells do equal work.

    `threads`: within an operator. `deterministic`: whether a GPU may use deterministic kernels only. `tf32`:
    whether it may round the factors of float32 products to 10 bits.
    """
    torch.set_num_threads(threads)
    # Between operators no measure runs anything: one thread, or the cores of the machine would be in the
    # description, and so in every cell's id. Torch takes the number once, before anything uses it.
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    torch.backends.cudnn.benchmark = False  # no kernels chosen by the clock
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.deterministic = deterministic


def arithmetic_in_words(precision: str) -> str:
    """What is reduced in the arithmetic of a step, for the details of rows; empty for plain float32."""
    tf32 = "TF32" if torch.backends.cuda.matmul.allow_tf32 else ""
    return ", ".join(filter(None, ("" if precision == "float32" else precision, tf32)))


def describe_numerics() -> dict[str, int | bool]:
    """The same settings, read back from torch."""
    return {
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "matmul_allow_tf32": torch.backends.cuda.matmul.allow_tf32,
    }
