"""Progress bars on a terminal: one for the run, one for each cell at work."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from harness.cli.progress import Board, clock, headline
from harness.executors.local import Worker
from harness.protocol import Cell
from harness.run import Outcome


class Note(TextColumn):
    """What gives way first where the terminal is narrow: its end, in favour of the time that is left."""

    def __init__(self) -> None:
        super().__init__("{task.fields[note]}", style="dim", table_column=Column(no_wrap=False))

    def render(self, task: Task) -> Text:
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


class Bars(Board):
    """What a cell found scrolls by as a line; the bars below say how far the rest is."""

    def __init__(self) -> None:
        super().__init__()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[left]}"),
            Note(),
            console=Console(emoji=False),
            transient=True,
        )
        self.whole: TaskID | None = None
        self.bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def say(self, text: str) -> None:
        self.progress.console.print(text, markup=False, highlight=False)

    def started(self, cell: Cell) -> None:
        super().started(cell)
        if self.whole is None:
            self.whole = self.progress.add_task("run", total=self.total, left="", note="")
        if cell.id not in self.bars:
            self.bars[cell.id] = self.progress.add_task(cell.label, total=1.0, left="", note="")

    def progressed(self, workers: list[Worker]) -> None:
        super().progressed(workers)
        for worker in workers:
            self.progress.update(
                self.bars[worker.launch.cell.id],
                completed=worker.fraction,
                left=f"{clock(self.estimate.left_of(worker))} left",
                note=worker.note,
            )
        self._update_whole()

    def ended(self, outcome: Outcome) -> None:
        super().ended(outcome)
        self.progress.remove_task(self.bars.pop(outcome.cell.id))
        self.say(f"{outcome.cell.label}: {headline(outcome)}")
        self._update_whole()

    def _update_whole(self) -> None:
        if self.whole is not None:
            left = self.estimate.left(self.workers)
            note = f"{self.done} of {self.total} cells"
            self.progress.update(self.whole, total=self.total, completed=self.done, left=left, note=note)
