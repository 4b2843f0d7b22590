"""Fetching a public dataset; and what all commands share that make a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli.console import finish, print_frame, print_protocol, say, showing
from eosin.reporting.wording import counted

if TYPE_CHECKING:
    from eosin.artefacts.manifest import Manifest
    from eosin.data.scan import ReadDataset

Root = Annotated[Path, typer.Argument(metavar="ROOT", help="Folder of the dataset.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="M.csv", help="The manifest to write.")]
AnyManifest = Annotated[Path, typer.Argument(metavar="M.csv", help="A manifest.")]


def download(
    name: Annotated[str, typer.Argument(metavar="NAME", help="breakhis, bci or idc.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Its folder goes here.")],
    address: Annotated[
        str | None, typer.Option(metavar="URL", help="Of the archive, e.g. on a mirror.")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="That the archive must have.")
    ] = None,
) -> None:
    """Fetch a public dataset from its authors: terms shown, resumed, checked, unpacked."""
    from eosin.data.download import SOURCES, at, download
    from eosin.errors import ConfigError

    if name not in SOURCES:
        raise ConfigError(f"no dataset {name!r} is known; want one of {list(SOURCES)}")
    source = SOURCES[name]
    say((name, "bold"), f": {source.terms}\nIts authors' page: {source.page}")
    source = at(source, address) if address else source
    with showing() as progress:
        found = download(source, out, sha256=sha256, progress=progress)
    say(f"unpacked: {found.folder} (archive of {found.size / 1e6:,.0f} MB, SHA-256 {found.sha256})")
    if not (sha256 or source.sha256):
        say("Its authors publish no SHA-256; whoever repeats your work gives this one.")
    say(f"next: {source.next_step.format(found.folder)}")


def _patients(manifest: Manifest) -> str:
    """How many patients there are, and how unequally the images lie among them."""
    if not manifest.protocol.patients_known:
        return "patients unknown"
    images = manifest.frame["patient"].value_counts()
    spread = f"{images.min()} to {images.max()} images each, median {images.median():g}"
    kind = "pseudo-patient" if manifest.protocol.pseudo else "patient"
    return f"{counted(len(images), kind)} ({spread})"


def require_manifest(out: Path, *inputs: Path) -> None:
    """Refuse a manifest that cannot be written, or would cost something, before any reading."""
    from eosin.artefacts.outputs import MANIFEST, require_table
    from eosin.pixels.reading import error_table_path

    require_table(out, MANIFEST, inputs=inputs, beside=(error_table_path(out),))


def write_dataset(found: ReadDataset, out: Path) -> None:
    """Write a manifest, say what is in it, and end with the skipped files."""
    from eosin.artefacts.manifest import SPLITS
    from eosin.data.scan import count_table
    from eosin.pixels.reading import error_table_path, write_error_table

    manifest = found.manifest
    manifest.write(out)
    write_error_table(found.skipped, error_table_path(out))
    say((manifest.dataset, "bold"), f": {counted(len(manifest), 'image')}, {_patients(manifest)}")
    print_frame(count_table(manifest).reset_index())
    counts = manifest.frame["split"].value_counts()
    if placed := [f"{counts[name]} in {name}" for name in SPLITS if name in counts]:
        say(f"images by split: {', '.join(placed)}")
    print_protocol(manifest.protocol, manifest.notes)
    say(f"written: {out}")
    finish(found.skipped, error_table_path(out))
