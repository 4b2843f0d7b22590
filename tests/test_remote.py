"""Files at URLs: read as if they were here, written whole or not at all."""

from __future__ import annotations

import errno
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import SlideDrawer
from typer.testing import CliRunner

from eosin import remote
from eosin import store as stores
from eosin.arrays import UInt8Image
from eosin.artefacts.manifest import Manifest, read_manifest
from eosin.artefacts.predictions import read_predictions
from eosin.cli.app import app
from eosin.cluster.worker import sample_of
from eosin.data.splits import split_by_fractions
from eosin.errors import ConfigError, DataError, DiskError, EosinError
from eosin.pixels.reading import error_table_path, read_image
from eosin.slides.opening import find_slides, is_slide, open_slide, opened
from eosin.slides.tile import Tile
from eosin.spread import Work
from eosin.training.config import TrainingConfig
from eosin.training.train import train

s3fs = pytest.importorskip("s3fs", reason="the extra `storage` is not installed")
moto = pytest.importorskip("moto.server", reason="moto is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A store on loopback; its address."""
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def store(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> s3fs.S3FileSystem:
    """An empty bucket named ``lab``, and a fresh cache."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "reader",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "EOSIN_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    forget()
    fs = s3fs.S3FileSystem()
    if fs.exists("lab"):
        fs.rm("lab", recursive=True)
    fs.mkdir("lab")
    return fs


def forget() -> None:
    """Begin a new command: nothing is known of any object."""
    stores._STORED.clear()
    stores._LISTED.clear()
    remote._ORIGINS.clear()
    s3fs.S3FileSystem.clear_instance_cache()


def say(*words: object) -> tuple[int, str]:
    forget()
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.output + str(result.exception or "")


@pytest.fixture(scope="module")
def inputs(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A Run and its split manifest."""
    home = tmp_path_factory.mktemp("probe")
    divided = split_by_fractions(drawn_breakhis, (0.25, 0.25, 0.5), seed=0)
    divided.write(home / "s.csv")
    train(divided, home / "run", small_probe)
    return home / "run", home / "s.csv"


def sent_up(store: s3fs.S3FileSystem, table: Path, folder: Path) -> Manifest:
    """The images of a manifest, and it itself with rows relative to it, under ``s3://lab/data``."""
    manifest = read_manifest(table)
    for path in manifest.paths:
        store.put_file(str(path), f"lab/data/images/{path.name}")
    rows = [str(folder / "images" / path.name) for path in manifest.paths]
    placed = Manifest(
        manifest.frame.assign(path=rows), manifest.task, manifest.dataset, manifest.protocol
    )
    placed.write(folder / "s.csv")
    for name in ("s.csv", "s.csv.meta.json"):
        store.put_file(str(folder / name), f"lab/data/{name}")
    return placed


def test_images_and_output_in_a_store_give_the_bytes_of_a_local_run(
    inputs: tuple[Path, Path], store: s3fs.S3FileSystem, tmp_path: Path
) -> None:
    run, table = inputs
    placed = sent_up(store, table, tmp_path)
    store.put(str(run), "lab/run", recursive=True)
    gone, kept = (path.name for path in placed.in_split("test").paths[:2])
    store.rm_file(f"lab/data/images/{gone}")

    code, said = say("predict", run, "s3://lab/data/s.csv", "-o", tmp_path / "here.csv")
    assert code == 3, said
    assert "s3://lab/data/images/" + gone in error_table_path(tmp_path / "here.csv").read_text()
    code, said = say("predict", run, "s3://lab/data/s.csv", "-o", "s3://lab/out/here.csv")
    assert code == 3, said
    for suffix in ("", ".meta.json", ".errors.csv"):
        there = store.cat_file(f"lab/out/here.csv{suffix}")
        assert there.decode() == (tmp_path / f"here.csv{suffix}").read_text()
    assert sorted(Path(each).name for each in store.find("lab/out")) == [
        "here.csv",
        "here.csv.errors.csv",
        "here.csv.meta.json",
    ]
    assert not list((tmp_path / "cache" / "outgoing").iterdir())

    words = ("s3://lab/data/s.csv", "-o", tmp_path / "again.csv")
    code, said = say("predict", "s3://lab/run", *words)
    assert code == 3, said
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert read_predictions(tmp_path / "again.csv").provenance.runs == ("s3://lab/run",)

    code, said = say("predict", run, "s3://lab/data/images/" + kept, "-o", "s3://lab/out/one.csv")
    assert code == 0, said
    assert "written: s3://lab/out/one.csv" in said
    store.invalidate_cache()
    assert f"s3://lab/data/images/{kept}" in store.cat_file("lab/out/one.csv").decode()

    paths = read_predictions(tmp_path / "here.csv").frame["path"]
    assert all(path.startswith("s3://lab/data/images/") for path in paths)
    forget()
    known = read_manifest("s3://lab/data/s.csv")
    assert known.fingerprint == read_manifest(table).fingerprint
    assert known.patients == read_manifest(table).patients


def test_a_table_that_goes_to_a_store_names_local_images_in_full(
    inputs: tuple[Path, Path], store: s3fs.S3FileSystem
) -> None:
    code, said = say("predict", *inputs, "-o", "s3://lab/out/p.csv")
    assert code == 0, said
    head = store.cat_file("lab/out/p.csv").decode().splitlines()[1]
    assert head.startswith(str(read_manifest(inputs[1]).paths[0].parents[2].parent))


def test_an_object_is_fetched_once_and_anew_when_it_has_changed(
    store: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.pipe_file("lab/a.txt", b"first")
    fetches: list[str] = []
    real = s3fs.S3FileSystem._get_file

    async def counted(self: s3fs.S3FileSystem, target: str, *rest: object, **more: object) -> None:
        fetches.append(target)
        await real(self, target, *rest, **more)

    monkeypatch.setattr(s3fs.S3FileSystem, "_get_file", counted)
    forget()
    path = remote.as_path("s3://lab/a.txt")
    assert str(path) == str(path.parent / "a.txt") == "s3://lab/a.txt"
    assert path.suffix == ".txt"
    assert not fetches  # not before it is opened
    assert path.read_bytes() == b"first"
    forget()
    assert path.read_bytes() == b"first"
    assert fetches == ["lab/a.txt"]
    store.pipe_file("lab/a.txt", b"other")  # of the same size
    forget()
    assert path.read_bytes() == b"other"
    assert len(fetches) == 2


class Door:
    """A door to a server that slams in the face of first callers, and counts what it lets out."""

    def __init__(self, server: str, times: int = 0) -> None:
        self._target = server.removeprefix("http://").split(":")
        self.left, self.bytes = times, 0
        self.torn, self.until = 0, 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:  # closed
                return
            if self.left > 0:
                self.left -= 1
                caller.recv(64)
                caller.close()
                continue
            there = socket.create_connection((self._target[0], int(self._target[1])))
            for one, other in ((caller, there), (there, caller)):
                args = one, other, one is there
                threading.Thread(target=self._carry, args=args, daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, out: bool) -> None:
        try:
            while data := one.recv(65536):
                self.bytes += len(data) * out
                if out and self.torn > 0 and self.bytes > self.until:
                    self.torn -= 1
                    return
                other.sendall(data)
        except OSError:
            pass
        finally:
            for each in (one, other):
                with suppress(OSError):  # closed by then
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def tear(self, *, after: int, times: int) -> None:
        """Break so many connections once so many bytes more were let out."""
        self.torn, self.until = times, self.bytes + after

    def close(self) -> None:
        self._socket.close()


def test_broken_connections_are_tried_again(
    server: str, store: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.pipe_file("lab/a.txt", b"whole")
    door = Door(server, 6)
    monkeypatch.setenv("AWS_ENDPOINT_URL", door.address)
    monkeypatch.setattr(stores, "_WAITS", (0.0, 0.0, 0.0))
    forget()
    assert remote.as_path("s3://lab/a.txt").read_bytes() == b"whole"
    assert door.left == 0
    door.close()


def test_a_store_that_stays_away_is_a_sentence_after_four_tries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stores, "_WAITS", (0.0, 0.0, 0.0))
    tries: list[int] = []

    def broken() -> None:
        tries.append(1)
        raise ConnectionResetError(errno.ECONNRESET, "reset by peer")

    with pytest.raises(OSError, match="reset by peer; tried 4 times") as error:
        stores.tried(broken, "s3://lab/a.png")
    assert error.value.filename == "s3://lab/a.png"
    assert len(tries) == 4


class AzureRefusalError(OSError):
    """As azure-core has it."""

    status_code = 403


@pytest.mark.parametrize(
    "fault", [AzureRefusalError(), OSError("Forbidden: b/lab\n"), PermissionError()]
)
def test_a_refusal_is_a_sentence_at_the_first_try(fault: OSError) -> None:
    tries: list[int] = []

    def refused() -> None:
        tries.append(1)
        raise fault

    with pytest.raises(ConfigError, match="access is refused"):
        stores.tried(refused, "gs://lab/a.png")
    assert len(tries) == 1


def test_missing_objects_and_credentials_and_packages_are_sentences(
    inputs: tuple[Path, Path],
    store: s3fs.S3FileSystem,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(DataError, match=r"s3://lab/no\.png: cannot be opened \(no such object\)"):
        read_image(remote.as_path("s3://lab/no.png"))
    code, said = say("predict", inputs[0], "s3://lab/no.csv", "-o", tmp_path / "p.csv")
    assert code == 1
    assert "s3://lab/no.csv: there is no such object; correct the URL" in said
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    code, said = say("predict", inputs[0], "s3://lab/no.csv", "-o", tmp_path / "p.csv")
    assert code == 1
    assert "s3://lab/no.csv: access is refused" in said
    assert "AWS_ACCESS_KEY_ID" in said
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r'pip install "eosin\[storage\]"'):
        remote.brought("gs://lab/a.csv")


def written(url: str, *, stop: bool = False) -> None:
    with remote.sent(url) as path:
        if stop:  # the same command goes on where it was
            raise ValueError(f"found {path.read_text()}")
        path.parent.mkdir(parents=True)
        path.write_text("path")
        path.with_name("p.csv.meta.json").write_text("{}")


def test_an_output_is_sent_whole_or_not_at_all_and_nothing_else_is_overwritten(
    store: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.pipe_file("lab/notes.csv", b"dear,diary\n")
    folder, put = tmp_path / "here", s3fs.S3FileSystem._put_file

    async def full(self: s3fs.S3FileSystem, local: str, target: str, **more: object) -> None:
        if target.endswith(".meta.json"):
            raise OSError(errno.ENOSPC, "quota exceeded")
        await put(self, local, target, **more)

    monkeypatch.setattr(stores, "_WAITS", ())
    with monkeypatch.context() as patch:
        patch.setattr(s3fs.S3FileSystem, "_put_file", full)
        forget()
        with pytest.raises(DiskError, match=r"quota exceeded.*all of it lies in"):
            written("s3://lab/out/p.csv")
    forget()
    assert not store.find("lab/out")
    with pytest.raises(ValueError, match="found path"):
        written("s3://lab/out/p.csv", stop=True)
    assert not store.find("lab/out")
    code, said = say("data", "synthetic", folder)
    assert code == 0, said
    code, said = say("split", folder / "manifest.csv", "-o", "s3://lab/notes.csv")
    assert code == 1
    assert "lies there already and is no manifest" in said
    assert store.cat_file("lab/notes.csv") == b"dear,diary\n"


def test_a_file_url_is_the_file_itself(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    run, table = (path.as_uri() for path in inputs)
    code, said = say("predict", run, table, "-o", (tmp_path / "p q.csv").as_uri())
    assert code == 0, said
    code, _ = say("predict", *inputs, "-o", tmp_path / "q" / "p q.csv")
    plain = read_predictions(tmp_path / "q" / "p q.csv").frame
    assert read_predictions(tmp_path / "p q.csv").frame.equals(plain)


@pytest.fixture(scope="module")
def slide(
    drawn_breakhis: Manifest, drawn_slide: SlideDrawer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """16 images, twice as fine as the Run's, in glass 9.8 mm wide; 19.6 MB, not compressed."""
    pixels = np.full((1024, 4900, 3), 243, np.uint8)
    for number, path in enumerate(drawn_breakhis.paths[:16]):
        top, left = (300 + 128 * part for part in divmod(number, 4))
        pixels[top : top + 128, left : left + 128] = np.kron(
            read_image(path), np.ones((2, 2, 1), np.uint8)
        )
    path = tmp_path_factory.mktemp("slides") / "a.tiff"
    return drawn_slide(path, pixels, mpp=2.0, levels=3, compression=None)


@pytest.fixture
def door(server: str, store: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """What everything passes on its way from and to the store."""
    opened = Door(server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", opened.address)
    monkeypatch.setattr(stores, "_WAITS", (0.0, 0.0, 0.0))
    forget()
    yield opened
    opened.close()


def test_a_slide_in_a_store_is_read_by_ranges_and_gives_the_bytes_of_a_local_one(
    inputs: tuple[Path, Path], slide: Path, store: s3fs.S3FileSystem, door: Door, tmp_path: Path
) -> None:
    url, words = "s3://lab/slides/a.tiff", ("--mpp", 2, "--allow-seen", "-o")
    store.put_file(str(slide), "lab/slides/a.tiff")
    for source, out in ((slide, "here"), (url, "there")):
        code, said = say("predict", inputs[0], source, *words, tmp_path / out)
        assert code == 0, said
    assert door.bytes < slide.stat().st_size / 4
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sum(path.stat().st_blocks * 512 for path in kept) < slide.stat().st_size / 4
    here, there = (tmp_path / each for each in ("here", "there"))
    assert {path.name for path in here.iterdir()} == {path.name for path in there.iterdir()}
    for path in here.iterdir():  # two name the slide from the folder, and the hash of such a table
        if path.name not in ("tiles.csv", "tiles.csv.meta.json", "slide.json"):
            wanted = path.read_bytes().replace(str(slide).encode(), url.encode())
            assert (there / path.name).read_bytes() == wanted, path.name
    one, other = (read_predictions(each / "tiles.csv").frame for each in (here, there))
    assert one.replace(str(slide), url, regex=True).equals(other)


def test_a_slide_is_looked_at_without_being_fetched(
    slide: Path, store: s3fs.S3FileSystem, door: Door
) -> None:
    store.put_file(str(slide), "lab/slides/deep/a.tiff")
    store.pipe_file("lab/slides/notes.txt", bytes(10**6))
    root = remote.as_path("s3://lab/slides")
    (path,) = find_slides(root)
    assert str(path) == "s3://lab/slides/deep/a.tiff"
    assert path.stat().st_size == slide.stat().st_size
    assert (path.is_file(), path.is_dir(), path.parent.is_dir()) == (True, False, True)
    there, local = open_slide(path), open_slide(slide)
    assert (there.mpp, there.vendor, there.levels) == (local.mpp, local.vendor, local.levels)
    work = Work("", 1, [Tile(path, 0, 0, 1.0, 1).path], open=tuple, do=lambda *_: iter(()))
    assert sample_of(work).files == []
    assert door.bytes < 200_000


def test_what_our_reader_leaves_to_openslide_is_fetched_whole_and_once(
    tissue: UInt8Image, real_data: Path, store: s3fs.S3FileSystem, tmp_path: Path
) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "grey.tif", tissue[..., 0], tile=(256, 256), metadata=None)
    dicom = real_data / "slides" / "cmu-1-small-region-dicom"
    store.put_file(str(tmp_path / "grey.tif"), "lab/grey.tif")
    store.put(str(dicom), "lab/dicom", recursive=True)
    for url, local in (("s3://lab/grey.tif", tmp_path / "grey.tif"), ("s3://lab/dicom", dicom)):
        forget()
        found = open_slide(remote.as_path(url))
        assert found.source.reader == "OpenSlide"
        wanted = open_slide(local).region(300, 300, 400, 200)
        np.testing.assert_array_equal(found.region(300, 300, 400, 200), wanted)
    assert is_slide(remote.as_path("s3://lab/dicom"))
    copies = [path for path in (tmp_path / "cache").rglob("grey.tif") if path.is_file()]
    assert [path.parent.name for path in copies].count("outline") == 1
    assert len(copies) == 2


def test_a_connection_that_breaks_within_a_tile_is_made_again(
    slide: Path, store: s3fs.S3FileSystem, door: Door
) -> None:
    store.put_file(str(slide), "lab/a.tiff")
    found = open_slide(remote.as_path("s3://lab/a.tiff"))
    door.tear(after=100_000, times=7)
    wanted = open_slide(slide).region(300, 300, 512, 256)
    np.testing.assert_array_equal(found.region(300, 300, 512, 256), wanted)
    assert door.torn == 0


def test_a_slide_that_changes_while_it_is_read_is_an_error(
    slide: Path, store: s3fs.S3FileSystem, tmp_path: Path
) -> None:
    path = remote.as_path("s3://lab/a.tiff")
    store.put_file(str(slide), "lab/a.tiff")
    forget()
    found = opened(path)
    before = found.region(300, 300, 64, 64)
    data = bytearray(slide.read_bytes())
    data[1000:15_000_000] = bytes(14_999_000)  # black; of the same size
    store.pipe_file("lab/a.tiff", bytes(data))
    np.testing.assert_array_equal(opened(path).region(300, 300, 64, 64), before)  # kept
    with pytest.raises(EosinError, match=r"s3://lab/a\.tiff: has changed while it was read"):
        found.region(2000, 600, 64, 64)
    assert opened(path).region(300, 300, 64, 64).max() == 0
    store.rm_file("lab/a.tiff")
    with pytest.raises(EosinError, match="has changed"):
        opened(path).region(2000, 600, 64, 64)


def test_a_folder_at_a_url_is_listed(
    inputs: tuple[Path, Path], store: s3fs.S3FileSystem, door: Door, tmp_path: Path
) -> None:
    locals_ = read_manifest(inputs[1]).in_split("test").paths
    for number, path in enumerate(locals_):
        store.put_file(str(path), f"lab/data/images/{number % 3}/{path.name}")
    store.pipe_file("lab/data/images/1/.hidden.png", b"no image")
    store.pipe_file("lab/data/images/1/scan.zip", bytes(10**6))
    store.pipe_file("lab/data/images/2/other.webp", bytes(10**6))
    store.touch("lab/data/images/empty/")
    begun = door.bytes
    code, said = say("predict", inputs[0], "s3://lab/data/images", "-o", tmp_path / "p.csv")
    assert code == 3, said
    assert door.bytes - begun < 10**6
    skipped = error_table_path(tmp_path / "p.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in skipped[1:]] == ["s3://lab/data/images/2/other.webp"]
    code, said = say("predict", inputs[0], *locals_, "-o", tmp_path / "q.csv")
    assert code == 0, said
    there, here = (read_predictions(tmp_path / name).frame for name in ("p.csv", "q.csv"))
    assert list(there["path"]) == sorted(there["path"])
    folders, names = zip(*(path.rsplit("/", 1) for path in there["path"]), strict=True)
    assert set(folders) == {f"s3://lab/data/images/{number}" for number in range(3)}
    there = there.assign(path=names).sort_values("path", ignore_index=True)
    here = here.assign(path=[Path(path).name for path in here["path"]])
    assert there.equals(here.sort_values("path", ignore_index=True))
