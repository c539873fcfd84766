"""How a download shows itself: a bar on a terminal, plain lines elsewhere, both with the time left."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from harness.cli.progress import clock
from harness.data.catalogue import Archive
from harness.data.download import Progress

PLAIN_EVERY_S = 5.0  # between two lines of one download


class Plain:
    """A line now and then, for logs and pipes."""

    def __init__(self) -> None:
        self.name = ""
        self.began = self.said = 0.0
        self.begun_at = 0

    def hear(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.archive.name != self.name or progress.note:
            self.name, self.began, self.said = progress.archive.name, now, now
            self.begun_at = progress.received
        if progress.note:
            self.say(f"{progress.archive.file}: {progress.note}")
        elif self.is_due(progress, now):
            self.said = now
            self.show(progress, self.left(progress, now))

    def is_due(self, progress: Progress, now: float) -> bool:
        return now - self.said >= PLAIN_EVERY_S

    def show(self, progress: Progress, left: str) -> None:
        whole = f" of {progress.total / 1e6:.1f}" if progress.total else ""
        self.say(f"{progress.archive.file}: {progress.received / 1e6:.1f}{whole} MB{left}")

    def left(self, progress: Progress, now: float) -> str:
        """`, 3m 05s left`, at the speed since the last turn of events; nothing where it cannot be told."""
        got = progress.received - self.begun_at
        if not progress.total or got <= 0 or now <= self.began:
            return ""
        return f", {clock((progress.total - progress.received) * (now - self.began) / got)} left"

    def ended(self, archive: Archive, is_new: bool) -> None:
        what = "checked and in place" if is_new else "was there already, as published"
        self.say(f"{archive.file}: {what}")

    def say(self, text: str) -> None:
        typer.echo(text)


class Bar(Plain):
    """A bar for the download at work, above it what was said of the others."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.console = Console(emoji=False)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[said]}"),
            console=self.console,
            transient=True,
        )
        self.task = self.bars.add_task("", total=None, said="", visible=False)

    def is_due(self, progress: Progress, now: float) -> bool:
        return True  # the bar itself redraws at its own pace

    def show(self, progress: Progress, left: str) -> None:
        whole = f" of {progress.total / 1e6:.1f}" if progress.total else ""
        self.bars.update(
            self.task,
            description=progress.archive.file,
            completed=progress.received,
            total=progress.total,
            said=f"{progress.received / 1e6:.1f}{whole} MB{left}",
            visible=True,
        )

    def ended(self, archive: Archive, is_new: bool) -> None:
        self.bars.update(self.task, visible=False)
        super().ended(archive, is_new)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)


@contextmanager
def display() -> Iterator[Plain]:
    """The display that fits where the output goes."""
    if not sys.stdout.isatty():
        yield Plain()
        return
    bar = Bar()
    with bar.bars:
        yield bar
