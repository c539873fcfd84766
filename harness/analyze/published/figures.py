"""The accuracies of "Meta-Learning with Implicit Gradients" (arXiv 1909.04630), Tables 2 and 3, as printed.

And what is known of how they were made, each with its source: what is not here was not found stated.
"""

from dataclasses import dataclass
from typing import Any

OMNIGLOT, MINI_IMAGENET = "omniglot", "mini-imagenet"
TABLE_2, TABLE_3 = "Table 2", "Table 3"
PAPER, README, CODE = "the paper", "the readme of the authors' code", "the authors' code"
REIMPLEMENTED = "reimplementations"
LAKE = "the dataset's demo"
SECOND_HAND = "second-hand"  # read in another text than the paper


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One accuracy in %, `printed` with its ±, which the tables do not explain.

    method: as this harness names it; row: as the table does.
    origin: whose experiment a row repeats, where that is known to be another paper's.
    remark: what must be said whenever it is shown.
    """

    table: str
    row: str
    method: str
    workload: str
    ways: int
    shots: int
    printed: str
    origin: str = ""
    remark: str = ""

    @property
    def accuracy(self) -> float:
        return float(self.printed.split()[0])

    @property
    def half(self) -> float:
        """What is printed after ±."""
        return float(self.printed.split()[2])

    @property
    def source(self) -> str:
        """`Table 2, from Finn et al. 2017`"""
        return ", ".join(filter(None, (self.table, self.origin and f"from {self.origin}", self.remark)))


COLUMNS_2 = ((5, 1), (5, 5), (20, 1), (20, 5))  # ways and shots
ROWS_2 = (
    ("maml", "MAML", "Finn et al. 2017", "",
     ("98.7 ± 0.4", "99.9 ± 0.1", "95.8 ± 0.3", "98.9 ± 0.2")),
    ("fomaml", "first-order MAML", "Nichol et al. 2018", "",
     ("98.3 ± 0.5", "99.2 ± 0.2", "89.4 ± 0.5", "97.9 ± 0.1")),
    ("reptile", "Reptile", "Nichol et al. 2018", "transductive",
     ("97.68 ± 0.04", "99.48 ± 0.06", "89.43 ± 0.14", "97.12 ± 0.32")),
    ("imaml-gd", "iMAML, GD", "", "",
     ("99.16 ± 0.35", "99.67 ± 0.12", "94.46 ± 0.42", "98.69 ± 0.1")),
    ("imaml-hf", "iMAML, Hessian-free", "", "",
     ("99.50 ± 0.26", "99.74 ± 0.11", "96.18 ± 0.36", "99.14 ± 0.1")),
)  # fmt: skip
ROWS_3 = (
    ("maml", "MAML", "", "48.70 ± 1.84"),
    ("fomaml", "first-order MAML", "", "48.07 ± 1.75"),
    ("reptile", "Reptile", "transductive", "49.97 ± 0.32"),
    ("imaml-gd", "iMAML, GD", "", "48.96 ± 1.84"),
    ("imaml-hf", "iMAML, Hessian-free", SECOND_HAND, "49.30 ± 1.88"),
)

FIGURES: tuple[Figure, ...] = (
    *(
        Figure(
            table=TABLE_2, row=row, method=method, workload=OMNIGLOT, ways=ways, shots=shots,
            printed=printed, origin=origin, remark=remark,
        )
        for method, row, origin, remark, every in ROWS_2
        for (ways, shots), printed in zip(COLUMNS_2, every, strict=True)
    ),
    *(
        Figure(
            table=TABLE_3, row=row, method=method, workload=MINI_IMAGENET, ways=5, shots=1,
            printed=printed, remark=remark,
        )
        for method, row, remark, printed in ROWS_3
    ),
)  # fmt: skip

HAUSDORFF_ERROR, HAUSDORFF_RUNS = 38.8, 20
"""% of errors of a nearest neighbour by the modified Hausdorff distance on all official one-shot runs of
Omniglot, as the dataset's demo (Lake, Salakhutdinov and Tenenbaum 2015) has it. No ± is given."""


@dataclass(frozen=True)
class Known:
    """A setting under which a figure was made, and who says so. at_least: it is a lower end."""

    value: Any
    source: str
    at_least: bool = False


NETWORK: dict[str, dict[str, Known]] = {
    OMNIGLOT: {
        "filters": Known(64, "the network of Finn et al. 2017"),
        "down": Known("stride", "the network of Finn et al. 2017"),
        "norm": Known("batch-stats", "the network of Finn et al. 2017"),
    },
    MINI_IMAGENET: {
        "filters": Known(32, "the network of Finn et al. 2017"),
        "down": Known("max-pool", "the network of Finn et al. 2017"),
        "norm": Known("batch-stats", "the network of Finn et al. 2017"),
    },
}
"""All rows have one network: a figure of another network is another figure."""

GD_STEPS = {5: 16, 20: 25}  # by ways


def known_settings(figure: Figure) -> dict[str, Known]:
    """Of the method and its training; those of other papers' rows were not read."""
    if not figure.method.startswith("imaml"):
        return {}
    is_gd = figure.method == "imaml-gd"
    if figure.table == TABLE_3:
        steps = {"inner steps": Known(10, REIMPLEMENTED)} if is_gd else {}
        return steps | {"lam": Known(0.5, REIMPLEMENTED), "cg_steps": Known(5, REIMPLEMENTED)}
    own = (
        {"inner steps": Known(GD_STEPS[figure.ways], PAPER), "inner_lr": Known(0.1, README)}
        if is_gd
        else {"newton_cg_steps": Known(5, PAPER)}
    )
    return own | {
        "lam": Known(2.0, PAPER),
        "cg_steps": Known(5, PAPER),
        "outer.rule": Known("adam", PAPER),
        "outer.lr": Known(1e-3, README),
        "outer.eps": Known(1e-3, CODE),
        "meta-batch": Known(32, README),
        "meta-steps": Known(20_000, README, at_least=True),
    }


LEAK = (
    "the authors' public code shuffles the characters for training and for testing by different seeds: it "
    "trains on 310 of its 423 test classes"
)
"""Of Table 2's two rows of iMAML: whether they were made so is not known."""
