"""The walk: every image once, by its own path, and what cannot be used named with its reason."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from eosin.errors import DataError
from eosin.pixels.image_files import ImageFiles, find_image_files
from eosin.pixels.reading import inspect_image, write_error_table


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())


def names(found: ImageFiles, top: Path) -> list[str]:
    return [path.relative_to(top).as_posix() for path in found.images]


def reasons(found: ImageFiles, top: Path) -> dict[str, str]:
    """Of each skipped file the reason, up to what is to be done about it."""
    return {
        item.path.relative_to(top).as_posix(): item.reason.split(";")[0].replace(str(top), "TOP")
        for item in found.skipped
    }


def test_images_come_in_order_and_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("b/2.PNG", "b/1.tif", "a.jpeg", "b.bmp")))
    touch(tmp_path / ".git/x.png", tmp_path / "._a.png", tmp_path / "__MACOSX/a.png")
    touch(tmp_path / "Thumbs.db", tmp_path / "b/notes.txt")
    found = find_image_files([tmp_path])
    assert names(found, tmp_path) == ["a.jpeg", "b/1.tif", "b/2.PNG", "b.bmp"]
    assert found.skipped == ()
    assert found.others == (tmp_path / "b/notes.txt",)
    assert found.folders == (tmp_path, tmp_path / "b")


def test_a_linked_folder_and_a_linked_file_are_read_under_the_name_of_the_link(
    tmp_path: Path,
) -> None:
    top = tmp_path / "top"
    touch(tmp_path / "disk/deep/1.png", tmp_path / "one.png", top / "own.png")
    (top / "c").symlink_to(tmp_path / "disk")
    (top / "linked.png").symlink_to(tmp_path / "one.png")
    found = find_image_files([top])
    assert names(found, top) == ["c/deep/1.png", "linked.png", "own.png"]
    assert found.skipped == ()


def test_a_link_back_to_a_folder_that_is_being_read_ends_there(tmp_path: Path) -> None:
    touch(tmp_path / "a/1.png", tmp_path / "b/2.png")
    (tmp_path / "a/up").symlink_to("..")
    (tmp_path / "a/other").symlink_to("../b")
    (tmp_path / "b/other").symlink_to("../a")
    found = find_image_files([tmp_path])
    assert names(found, tmp_path) == ["a/1.png", "b/2.png"]
    assert reasons(found, tmp_path) == {
        "a/other": "is a link to TOP/b, which counts already",
        "a/up": "is a link to TOP, which counts already",
        "b/other": "is a link to TOP/a, which counts already",
    }


def test_a_file_counts_once_and_by_its_own_path_whatever_links_sort_before_it(
    tmp_path: Path,
) -> None:
    touch(tmp_path / "m/1.png")
    (tmp_path / "a").symlink_to("m")
    (tmp_path / "b.png").symlink_to("m/1.png")
    os.link(tmp_path / "m/1.png", tmp_path / "z.png")
    found = find_image_files([tmp_path])
    assert names(found, tmp_path) == ["m/1.png"]
    assert reasons(found, tmp_path) == {
        "a": "is a link to TOP/m, which counts already",
        "b.png": "is a link to TOP/m/1.png, which counts already",
        "z.png": "is the same file as TOP/m/1.png, which counts already",
    }


def test_what_is_no_regular_file_is_named_and_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "1.png")
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "to-pipe")
    (tmp_path / "broken.png").symlink_to("gone.png")
    (tmp_path / "gone").symlink_to("/nowhere/at/all")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "null.png").symlink_to("/dev/null")
    monkeypatch.chdir(tmp_path)  # the path of a socket has to be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s.png")
        found = find_image_files([tmp_path])
    assert names(found, tmp_path) == ["1.png"]
    assert reasons(found, tmp_path) == {
        "broken.png": "is a broken link (to gone.png)",
        "gone": "is a broken link (to /nowhere/at/all)",
        "loop": "is a link that leads back to itself",
        "null.png": "is a device, not a file",
        "pipe.png": "is a pipe, not a file",
        "s.png": "is a socket, not a file",
        "to-pipe": "is a pipe, not a file",
    }
    with pytest.raises(DataError, match=r"pipe\.png: is a pipe, not an image"):
        inspect_image(tmp_path / "pipe.png")


def test_a_folder_that_cannot_be_listed_is_named_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a/1.png", tmp_path / "b/2.png")
    listed = os.scandir

    def scandir(folder: Path) -> object:
        if Path(folder).name == "a":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    found = find_image_files([tmp_path])
    assert names(found, tmp_path) == ["b/2.png"]
    assert reasons(found, tmp_path) == {"a": "cannot be listed (Permission denied)"}
    assert tmp_path / "a" in found.folders


def test_pictures_of_a_format_that_is_not_read_are_named(tmp_path: Path) -> None:
    touch(tmp_path / "1.webp", tmp_path / "2.SVS", tmp_path / "table.csv", tmp_path / "3.png")
    found = find_image_files([tmp_path])
    assert reasons(found, tmp_path) == {
        "1.webp": "is not read: its name ends in '.webp'",
        "2.SVS": "is a whole slide among images",
    }
    assert "want .png, .jpg" in found.skipped[0].reason


def test_files_and_folders_are_taken_in_the_order_given_each_file_once(tmp_path: Path) -> None:
    touch(tmp_path / "b/1.png", tmp_path / "b/2.png", tmp_path / "a/scan", tmp_path / "a/3.png")
    b, scan = tmp_path / "b", tmp_path / "a/scan"
    found = find_image_files([b / "2.png", b, b, scan, tmp_path / "a", b / "2.png"])
    assert names(found, tmp_path) == ["b/2.png", "b/1.png", "a/scan", "a/3.png"]
    assert found.skipped == ()  # the very same path twice is no fault


def test_a_place_that_does_not_exist_and_one_without_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.png: no such image or folder"):
        find_image_files([tmp_path, tmp_path / "nowhere.png"])
    touch(tmp_path / "1.webp")
    with pytest.raises(
        DataError, match=r"no image found; 1 cannot be used \(the first: .*webp: is"
    ):
        find_image_files([tmp_path]).require_images([tmp_path])


def test_a_name_that_is_not_utf8_stands_in_the_error_table_as_its_bytes(tmp_path: Path) -> None:
    strange = os.fsencode(tmp_path) + b"/caf\xe9.png"
    os.mkfifo(strange)
    found = find_image_files([tmp_path])
    write_error_table(found.skipped, tmp_path / "p.errors.csv")
    rows = (tmp_path / "p.errors.csv").read_bytes().splitlines()
    assert rows[1] == strange + b',"is a pipe, not a file; remove it"'
