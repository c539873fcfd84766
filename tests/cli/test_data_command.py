import io
import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from archives import write_archive, write_runs
from PIL import Image

from harness.cli import fetching
from harness.cli.app import call
from harness.core.libraries import version_of
from harness.data.catalogue import DATASETS, SMALL_1
from harness.data.download import Progress
from harness.workloads.imageset import load_split


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of a user who has none yet."""
    monkeypatch.delenv("INNERLOOP_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "user" / "innerloop"


def said(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int = 0) -> str:
    assert call(arguments) == code
    out, error = capsys.readouterr()
    assert (error == "") == (code in (0, 4))
    assert "Traceback" not in error
    return out + error


def test_list_tells_of_every_dataset_what_it_is_and_how_to_get_it(
    user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = said(capsys, ["data", "list"])
    assert f"data root: {user} (not there yet)" in listed
    for dataset in DATASETS:
        assert f"\n{dataset.name}: {dataset.what}" in listed
        for archive in dataset.archives:
            assert archive.file in listed
    assert "innerloop data fetch omniglot-minimal" in listed
    assert "train.csv" in listed
    user.mkdir(parents=True)
    (user / SMALL_1.file).write_bytes(b"")
    assert f"at {user / SMALL_1.file}" in said(capsys, ["data", "list"])


def test_a_folder_is_fetched_from_a_copy_and_verified(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zipped = write_archive(tmp_path, SMALL_1.name, classes(5, 136))
    with zipfile.ZipFile(zipped) as file:
        file.extractall(tmp_path / "copy")
    assert "is not images_background_small1.zip as published" in said(
        capsys, ["data", "fetch", SMALL_1.name, "--from", str(zipped)], 2
    )
    assert not user.exists() or not list(user.iterdir())
    fetched = said(capsys, ["data", "fetch", SMALL_1.name, "--from", str(tmp_path / "copy")])
    assert fetched == f"images_background_small1.zip: checked and in place\nIt is in {user}\n"
    verified = said(capsys, ["data", "verify"])
    assert verified == f"{user / SMALL_1.name}: 136 characters of 5 alphabets, 20 drawings each, all read\n"
    shutil.rmtree(user / SMALL_1.name / "Alphabet0" / "character01")
    assert "it holds 135 characters" in said(capsys, ["data", "verify", SMALL_1.name], 4)


def classes(alphabets: int, characters: int) -> list[str]:
    return [f"Alphabet{i % alphabets}/character{i // alphabets + 1:02d}" for i in range(characters)]


def test_runs_in_a_zip_of_any_name_are_listed_and_verified(
    user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_runs(user / "mine", 3)
    zipped = Path(shutil.make_archive(str(user / "one_shot_runs"), "zip", user / "mine"))
    shutil.rmtree(user / "mine")
    for root in (user, zipped):
        named = ["--data-root", str(root)]
        assert f"    3 runs at {zipped}\n" in said(capsys, ["data", "list", *named])
        verified = said(capsys, ["data", "verify", *named])
        assert verified == f"{zipped}: 3 official one-shot runs, all read\n"
        assert said(capsys, ["data", "verify", "all_runs", *named]) == verified
    write_runs(user / "again", 1)
    (user / "again" / "run01" / "test" / "item07.png").write_bytes(b"")
    assert "item07.png cannot be read" in said(capsys, ["data", "verify"], 4)
    zipped.write_bytes(zipped.read_bytes()[:-30])
    assert "one_shot_runs.zip is truncated or no zip" in said(capsys, ["data", "list"])


def test_of_a_zip_with_several_archives_those_inside_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = tmp_path / "inside"
    with zipfile.ZipFile(write_archive(tmp_path, SMALL_1.name, classes(5, 136))) as file:
        file.extractall(inside)
    both = shutil.make_archive(str(tmp_path / "both"), "zip", inside)
    assert said(capsys, ["data", "list", "--data-root", both]).count(f"at {both}") == 2, "in two datasets"
    verified = said(capsys, ["data", "verify", "--data-root", both])
    assert verified == f"{both}: 136 characters of 5 alphabets, 20 drawings each, all read\n"


def test_a_copy_of_mini_imagenet_is_listed_and_every_image_of_it_verified(
    user: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.workloads.mini_imagenet_data.IMAGES", 1)
    assert "holds no Mini-ImageNet" in said(capsys, ["data", "verify", "mini-imagenet"], 2)
    copy = user / "mini-imagenet"
    for label in (label for labels in load_split("mini-imagenet").values() for label in labels):
        (copy / label).mkdir(parents=True)
        Image.new("RGB", (84, 84)).save(copy / label / f"{label}1.jpg")
    assert f"\n  at {copy}\n" in said(capsys, ["data", "list"])
    for names in ([], ["mini-imagenet"]):
        assert f"{copy}: 100 classes of 600" in said(capsys, ["data", "verify", *names])
    (copy / label / f"{label}1.jpg").write_bytes(b"")
    assert f"{label}1.jpg is neither a JPEG nor a PNG" in said(capsys, ["data", "verify"], 4)


def test_what_is_not_there_cannot_be_verified(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds no dataset; get one with `innerloop data fetch NAME`" in said(capsys, ["data", "verify"], 5)
    assert "holds neither all_runs.zip nor" in said(capsys, ["data", "verify", "all_runs"], 2)


def test_what_cannot_be_fetched_is_one_sentence(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'omniglot'?" in said(capsys, ["data", "fetch", "omniglt"], 2)
    assert "mini-imagenet is read from a local copy alone" in said(
        capsys, ["data", "fetch", "mini-imagenet"], 2
    )
    assert "there is no nowhere" in said(capsys, ["data", "fetch", "omniglot", "--from", "nowhere"], 2)
    assert "write an address such as https://" in said(
        capsys, ["data", "fetch", "omniglot", "--from", "ftp://host"], 2
    )
    assert not user.exists()


def test_a_server_that_is_not_there_is_one_sentence(
    user: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.data.download.time.sleep", lambda seconds: None)
    heard = said(capsys, ["data", "fetch", "all_runs", "--from", "http://127.0.0.1:9/x"], 1)
    assert "innerloop: http://127.0.0.1:9/x/one-shot-classification/all_runs.zip: no connection" in heard
    assert "after 5 attempts; try again later, or name another address or a local copy with --from." in heard
    assert list(user.iterdir()) == []


def test_plain_lines_tell_how_far_and_how_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(fetching.time, "monotonic", lambda: now)
    with fetching.display() as shown:
        for second in range(12):
            now = 100.0 + second
            shown.hear(Progress(SMALL_1, 100_000 * second, 1_300_000))
        shown.hear(Progress(SMALL_1, 1_100_000, None, "the connection was cut; again in 1 s"))
        shown.ended(SMALL_1, True)
    assert capsys.readouterr().out.splitlines() == [
        "images_background_small1.zip: 0.5 of 1.3 MB, 8s left",
        "images_background_small1.zip: 1.0 of 1.3 MB, 3s left",
        "images_background_small1.zip: the connection was cut; again in 1 s",
        "images_background_small1.zip: checked and in place",
    ]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())
    with fetching.display() as shown:
        shown.hear(Progress(SMALL_1, 0, 1_300_000))
        shown.hear(Progress(SMALL_1, 650_000, 1_300_000))
        assert isinstance(shown, fetching.Bar)
        shown.bars.refresh()
        shown.ended(SMALL_1, True)
    written = sys.stdout.getvalue()  # type: ignore[attr-defined]
    assert "━" in written
    assert "0.7 of 1.3 MB" in written or "0.6 of 1.3 MB" in written
    assert "checked and in place" in written


def test_bench_times_the_sampler_beside_a_meta_step(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["glyphs[ways=2,queries=1,filters=2]", "--meta-batch-size", "2", "--rounds", "3"]
    record = json.loads(said(capsys, ["data", "bench", *small, "--json"]))
    wanted = {"meta-step", "sampler, rotated", "sampler, upright"}
    assert wanted <= record["seconds"].keys()
    assert all(len(rounds) == 3 and min(rounds) > 0 for rounds in record["seconds"].values())
    told = said(capsys, ["data", "bench", *small])
    assert "of that meta-step" in told
    assert "3 rounds; CPU time of one thread, medians with the least and the most\n" in told
    if version_of("learn2learn") is None:
        assert record["seconds"].keys() == wanted
        assert "learn2learn: skipped: learn2learn is not installed: install 'learn2learn>=0.2.0'" in told


def test_bench_refuses_what_has_no_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert "that is no workload of images" in said(capsys, ["data", "bench", "sinusoid"], 2)
    assert "unknown; did you mean" in said(capsys, ["data", "bench", "glyfs"], 2)
