"""Whether an archive on disk is what was published: its checksum, and every drawing decoded and counted."""

from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.data.archives import Member, Source
from harness.data.catalogue import Archive, Characters, Runs
from harness.errors import UsageError
from harness.workloads.official_runs_data import read_run, runs_of

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
    is_published = archive.is_published(source.path) if source.path.is_file() else None
    fault = ""
    if is_published is False:
        fault = f"{source.path} differs from what was published (its {archive.kind}); {source.again()}."
    try:
        check_contents(archive, source)
    except UsageError as failure:
        fault = str(failure)
    return Verdict(archive, source, is_published, fault)


def check_contents(archive: Archive, source: Source) -> Files:
    """Count what `source` holds, and decode every drawing. Returns the files that belong to the archive, by
    their paths below its folder.

    Raises UsageError where something is missing, too much or unreadable.
    """
    match archive.contents:
        case Characters():
            files = list(source.files())
            _count_characters(archive.contents, source, files)
            for _, member in files:
                member.ink()
            return files
        case Runs():
            runs = runs_of(source)
            for place, parts in runs.items():
                read_run(source, place, parts)
            if len(runs) != archive.contents.runs:
                _refuse(source, f"it holds {len(runs)} runs, not {archive.contents.runs}")
            return [
                (PurePosixPath(place.name, path), member)
                for place, parts in runs.items()
                for path, member in parts.items()
            ]


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


def _refuse(source: Source, what: str) -> None:
    raise UsageError(f"{source.path}: {what}; {source.again()}.")
