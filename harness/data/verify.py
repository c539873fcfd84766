"""Whether an archive on disk is what was published: its checksum, and every drawing decoded and counted."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.data.archives import Member, Source
from harness.data.catalogue import Archive, Characters, Runs
from harness.errors import UsageError

BLOCK = 2**20
RUN = re.compile(r"run\d+")
LABELS = "class_labels.txt"

Files = list[tuple[PurePosixPath, Member]]


@dataclass(frozen=True)
class Verdict:
    """What became of one archive. `fault` is a sentence, empty where all is well."""

    archive: Archive
    source: Source
    is_published: bool | None
    """Whether its checksum is the published one; None for a folder, which has none."""

    fault: str = ""

    @property
    def sound(self) -> bool:
        return not self.fault


def verify(archive: Archive, source: Source) -> Verdict:
    """Hold the archive found at `source` against what was published.

    The contents of a zip of another checksum are looked at nevertheless: that says what is wrong with it.
    """
    is_published = has_published_sum(archive, source.path) if source.path.is_file() else None
    fault = ""
    if is_published is False:
        fault = f"{source.path} differs from what was published (its {archive.kind}); {source.again()}."
    try:
        check_contents(archive, source)
    except UsageError as failure:
        fault = str(failure)
    return Verdict(archive, source, is_published, fault)


def has_published_sum(archive: Archive, path: Path) -> bool:
    """Whether the file is the archive as published, by its checksum. Raises OSError."""
    hasher = archive.hasher()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            hasher.update(block)
    return archive.is_sum(hasher)


def check_contents(archive: Archive, source: Source) -> Files:
    """Count what `source` holds, and decode every drawing. Returns the files that belong to the archive, by
    their paths below its folder.

    Raises UsageError where something is missing, too much or unreadable.
    """
    match archive.contents:
        case Characters():
            files = list(source.files())
            _count_characters(archive.contents, source, files)
        case Runs():
            files = runs_of(source)
            _count_runs(archive.contents, source, files)
    for path, member in files:
        if path.suffix == ".png":
            member.ink()
    return files


def runs_of(source: Source) -> Files:
    """The files of official one-shot runs, as `runNN/...`; whatever else is there is passed over."""
    files = []
    for path, member in source.members():
        for depth in (2, 3):  # run01/class_labels.txt, run01/test/item01.png
            inside = PurePosixPath(*path.parts[-depth:])
            if len(path.parts) >= depth and RUN.fullmatch(inside.parts[0]) and _is_of_run(inside):
                files.append((inside, member))
    return sorted(files, key=lambda pair: pair[0])


def _is_of_run(path: PurePosixPath) -> bool:
    folder, name = path.parts[1:-1], path.name
    return (not folder and name == LABELS) or (folder in (("training",), ("test",)) and path.suffix == ".png")


def _count_characters(wanted: Characters, source: Source, files: Files) -> None:
    drawings = Counter(str(path.parent) for path, _ in files)
    alphabets = {name.partition("/")[0] for name in drawings}
    uneven = {name: count for name, count in sorted(drawings.items()) if count != wanted.drawings}
    if uneven:
        name, count = next(iter(uneven.items()))
        _refuse(source, f"class {name} has {count} drawings instead of {wanted.drawings}")
    if (len(alphabets), len(drawings)) != (wanted.alphabets, wanted.characters):
        _refuse(
            source,
            f"it holds {len(drawings):,} characters of {len(alphabets)} alphabets, not "
            f"{wanted.characters:,} of {wanted.alphabets}",
        )


def _count_runs(wanted: Runs, source: Source, files: Files) -> None:
    found: Mapping[str, list[str]] = defaultdict(list)
    for path, _ in files:
        found[path.parts[0]].append(path.parts[1])
    for run, parts in sorted(found.items()):
        counts = Counter(parts)
        for part, count in (("training", wanted.characters), ("test", wanted.characters), (LABELS, 1)):
            if counts[part] != count:
                _refuse(source, f"{run} has {counts[part]} instead of {count} of {part}")
    if len(found) != wanted.runs:
        _refuse(source, f"it holds {len(found)} runs, not {wanted.runs}")


def _refuse(source: Source, what: str) -> None:
    raise UsageError(f"{source.path}: {what}; {source.again()}.")
