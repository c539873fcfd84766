"""Whether data on disk is what was published: its checksum, and every image decoded and counted."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.data.archives import Member, Source, find_archive
from harness.data.catalogue import ALL_RUNS, ARCHIVES, MINI_IMAGENET, Archive, Characters, Runs, choose
from harness.errors import UsageError
from harness.workloads.mini_imagenet_copy import Copy, find_copy, look_for_copy
from harness.workloads.mini_imagenet_data import check_copy
from harness.workloads.official_runs_data import find_runs, load_official_runs, read_run, runs_of

Files = list[tuple[PurePosixPath, Member]]


@dataclass(frozen=True)
class Verdict:
    """What became of something found. `fault` is a sentence, empty where all is well."""

    where: str
    contents: str
    """What it holds where all is well."""

    fault: str = ""

    @property
    def sound(self) -> bool:
        return not self.fault

    @property
    def sentence(self) -> str:
        return self.fault or f"{self.where}: {self.contents}, all read"


def look_for(archive: Archive, root: Path) -> Source | None:
    """As `find_archive`, but a zip of another name must have drawings of this one.

    Raises UsageError where it cannot be read.
    """
    source = find_archive(root, archive.name)
    if source is None or source.path.stem == archive.name:
        return source
    return source if isinstance(archive.contents, Characters) and any(source.files()) else None


def look_for_more_runs(root: Path) -> Counter[str]:
    """How many official runs lie where, those of `all_runs` left out. Raises UsageError."""
    all_runs = look_for(ALL_RUNS, root)
    places = [place for _, place, _ in find_runs(root)]
    more = [place for place in places if not all_runs or all_runs.path not in place.parents]
    return Counter(str(place.parent) for place in more)


def verify_all(root: Path, names: Sequence[str] = ()) -> Iterator[Verdict]:
    """What datasets and archives of those names are worth, or all that are in `root`.

    Raises UsageError where one that is named is not there.
    """
    archives = [name for name in names if name != MINI_IMAGENET.name]
    for archive in choose(archives) if names else ARCHIVES.values():
        verdicts = list(_verify_archive(archive, root))
        if names and not verdicts:
            raise UsageError(
                f"{root} holds neither {archive.file} nor the folder {archive.name}; get it with "
                f"`innerloop data fetch {archive.name}`, or name another folder with --data-root."
            )
        yield from verdicts
    if MINI_IMAGENET.name in names:
        yield _verify_copy(find_copy(root))
    elif not names and (copy := look_for_copy(root)):
        yield _verify_copy(copy)


def _verify_archive(archive: Archive, root: Path) -> Iterator[Verdict]:
    if source := look_for(archive, root):
        yield verify(archive, source)
    if archive is ALL_RUNS:
        yield from _verify_more_runs(root)


def _verify_more_runs(root: Path) -> Iterator[Verdict]:
    """Of runs that lie elsewhere than in their archive: the workload reads them all."""
    try:
        if more := look_for_more_runs(root):
            load_official_runs(root)
            yield Verdict(" and ".join(more), f"{more.total()} official one-shot runs")
    except UsageError as failure:
        yield Verdict(str(root), "", fault=str(failure))


def _verify_copy(copy: Copy) -> Verdict:
    fault = ""
    try:
        check_copy(copy)
    except UsageError as failure:
        fault = str(failure)
    return Verdict(str(copy.path), MINI_IMAGENET.what, fault=fault)


def verify(archive: Archive, source: Source) -> Verdict:
    """Hold the archive found at `source` against what was published.

    The contents of a zip of another checksum are looked at nevertheless: that says what is wrong with it.
    """
    contents, fault = str(archive.contents), ""
    if source.path.is_file() and source.path.stem == archive.name:  # a zip of another name has no checksum
        if archive.is_published(source.path):
            contents = f"{archive.kind} as published, {contents}"
        else:
            fault = f"{source.path} differs from what was published (its {archive.kind}); {source.again()}."
    try:
        check_contents(archive, source)
    except UsageError as failure:
        fault = str(failure)
    return Verdict(str(source.path), contents, fault)


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
                source.ink(member)
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
