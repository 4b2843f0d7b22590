"""`eosin data ...`: read a dataset into a manifest, draw a synthetic one, audit one."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli import tiles
from eosin.cli.console import finish, print_frame, say, showing
from eosin.cli.datasets import AnyManifest, Out, Root, download, require_manifest, write_dataset
from eosin.cli.sources import MOST_MEGAPIXELS, Device, MaxMegapixels, Ordinal, Positive
from eosin.errors import ConfigError
from eosin.reporting.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from eosin.data.audit import Audit
    from eosin.pixels.reading import SkippedFile

app = typer.Typer(no_args_is_help=True, help="Read datasets into manifests; audit them.")

app.command()(download)


class Task(StrEnum):
    """What BreakHis images are sorted into."""

    binary = "binary"
    subtype = "subtype"
    eva = "eva"


class PatientUnit(StrEnum):
    """What counts as a patient in BreakHis names."""

    accession = "accession"
    slide = "slide"


class Split(StrEnum):
    """A published split of BreakHis, or its patient-level twin."""

    eva = "eva"
    eva_clean = "eva-clean"


class Kind(StrEnum):
    """Which dataset the synthetic images are named like."""

    breakhis = "breakhis"
    her2 = "her2"


@app.command()
def breakhis(
    root: Root,
    out: Out,
    task: Annotated[
        Task | None,
        typer.Option(help="Two classes (default), the eight tumour types, or the four of eva."),
    ] = None,
    magnification: Annotated[
        list[int] | None, typer.Option(help="Keep this magnification; may be repeated.")
    ] = None,
    patient: Annotated[
        PatientUnit,
        typer.Option(help="Accession number (slide without block letters), or slide as published."),
    ] = PatientUnit.accession,
    folds: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The official five-fold file.")
    ] = None,
    official_fold: Annotated[
        int | None, typer.Option(help="Which of the official folds to take as the split.")
    ] = None,
    split: Annotated[
        Split | None,
        typer.Option(help="Four types at 40X as eva divides them (leaky), or with patients whole."),
    ] = None,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """BreakHis: the official tree, or any folder of BreakHis-named files."""
    from eosin.data.breakhis import read_breakhis
    from eosin.data.eva import divide_as_eva

    if split and (folds or task not in (None, Task.eva)):
        raise ConfigError(f"--split {split} settles task and folds; leave --task and --folds out")
    require_manifest(out, root, *([folds] if folds else []))
    found = read_breakhis(
        root,
        task=(Task.eva if split else task or Task.binary).value,
        magnifications=magnification or ([40] if split else ()),
        patient=patient.value,
        folds=folds,
        official_fold=official_fold,
    )
    if split:
        found = replace(found, manifest=divide_as_eva(found.manifest, split.value))
    write_dataset(found, out)


@app.command()
def bci(root: Root, out: Out, _megapixels: MaxMegapixels = MOST_MEGAPIXELS) -> None:
    """BCI: H&E images with HER2 levels in their names; the official test set stays apart."""
    from eosin.data.bci import read_bci

    require_manifest(out, root)
    write_dataset(read_bci(root), out)


@app.command()
def folder(
    root: Root,
    out: Out,
    patient: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX", help=r"Its first group in a file name is the patient: ^(\d+)_"
        ),
    ] = None,
    positive: Positive = None,
    ordinal: Ordinal = False,
    mpp: Annotated[
        float | None, typer.Option(min=0.05, max=50, help="um/px of the images, if it is known.")
    ] = None,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Any dataset with one sub-folder a class."""
    from eosin.data.folder import read_folder

    require_manifest(out, root)
    write_dataset(
        read_folder(root, patient=patient, positive=positive, ordinal=ordinal, mpp=mpp), out
    )


app.command()(tiles.slides)
app.command()(tiles.tile)


@app.command()
def synthetic(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to draw into.")],
    kind: Annotated[Kind, typer.Option(help="Names and classes of this dataset.")] = Kind.breakhis,
    patients: Annotated[int, typer.Option(help="How many patients.")] = 24,
    images: Annotated[int, typer.Option(help="How many images in all.")] = 240,
    size: Annotated[int, typer.Option(help="Side in pixels.")] = 224,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    magnification: Annotated[int, typer.Option(help="40, 100, 200 or 400.")] = 100,
) -> None:
    """Draw H&E images with known truth, under true names, and write OUT/manifest.csv."""
    from eosin.artefacts.outputs import MANIFEST, require_output_folder
    from eosin.data.bci import read_bci
    from eosin.data.breakhis import read_breakhis
    from eosin.data.synthetic import SyntheticOptions, write_synthetic

    options = SyntheticOptions(
        kind=kind.value,
        patients=patients,
        images=images,
        size=size,
        seed=seed,
        magnification=magnification,
    )
    require_output_folder(out, {"manifest.csv": MANIFEST})
    with showing() as progress:
        write_synthetic(out, options, progress=progress)
    found = read_breakhis(out / "images") if kind is Kind.breakhis else read_bci(out)
    write_dataset(found, out / "manifest.csv")


@app.command(name="pseudo-patients")
def pseudo_patients(
    manifest: AnyManifest,
    out: Out,
    backbone: Annotated[
        str | None, typer.Option(help="Also compare features of this network; needs PyTorch.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Of the network: imagenet (default), or a file.")
    ] = None,
    device: Device = "auto",
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Group images that look as if they shared a slide, for data that names no patient.

    Split the result by patient: groups stay whole, and the protocol is called pseudo-patient.
    """
    from eosin.artefacts.manifest import read_manifest
    from eosin.data.pseudo_patients import find_pseudo_patients
    from eosin.data.scan import ReadDataset

    if weights is not None and backbone is None:
        raise ConfigError("--weights needs --backbone NAME, the network that they belong to")
    require_manifest(out, manifest)
    images, features = read_manifest(manifest), None
    unread: tuple[SkippedFile, ...] = ()
    with showing() as progress:
        if backbone is not None:
            from eosin.training.config import TrainingConfig
            from eosin.training.frozen import freeze_images

            network = {"backbone": backbone, "weights": weights, "device": device}
            settings = TrainingConfig().with_overrides({**network, "freeze": True})
            frozen = freeze_images(images, settings, progress=progress)
            images, features, unread = frozen.manifest, frozen.features, frozen.skipped
        found = find_pseudo_patients(images, features=features, progress=progress)
    write_dataset(ReadDataset(found.manifest, (*unread, *found.skipped)), out)
    say(f"pairs of images that show the same tissue: {found.overlapping}")
    if found.agreement is not None:
        precision, recall = found.agreement
        say(
            f"against the patients that {manifest} names: {precision:.2f} of the pairs put "
            f"together belong together, {recall:.2f} of those that belong together are found"
        )


@app.command()
def audit(
    manifest: AnyManifest,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="audit.html", help="A page to write.")
    ] = None,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Look for duplicates, leaks, label conflicts, imbalance and unreadable files.

    Unreadable files are listed in M.csv.audit.errors.csv.
    """
    from eosin.artefacts.manifest import read_manifest
    from eosin.artefacts.outputs import PAGE, require_output
    from eosin.artefacts.tables import ERRORS, companion
    from eosin.data.audit import audit_manifest
    from eosin.pixels.reading import write_error_table
    from eosin.reporting.audit_page import write_audit_page

    if out is not None:
        require_output(out, PAGE, inputs=[manifest])
    images = read_manifest(manifest)
    with showing() as progress:
        found = audit_manifest(images, progress=progress)
    say(found.verdict, style="bold")
    if found.crossing_patients:
        say(f"patients that cross: {', '.join(found.crossing_patients)}")
    if found.duplicates:
        pairs = counted(len(found.duplicates), "pair")
        print_frame(_pairs(found), title=f"{pairs}, the gravest first")
    if out is not None:
        write_audit_page(found, out)
        say(f"page written: {out}")
    errors = companion(manifest, f".audit{ERRORS}")  # the reader has one of its own
    write_error_table(found.unreadable, errors)
    finish(found.unreadable, errors)


@app.command()
def show(
    manifest: AnyManifest,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="GRID.png", help="The picture.")],
    each: Annotated[int, typer.Option(min=1, max=20, help="Images a class.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Draw a few images of every class, of different patients, before anything is trained."""
    from eosin.artefacts.manifest import read_manifest
    from eosin.artefacts.outputs import PICTURE, require_output
    from eosin.pixels.reading import error_table_path, write_error_table
    from eosin.reporting.sample_sheet import write_sample_sheet

    errors = error_table_path(out)
    require_output(out, PICTURE, inputs=[manifest], beside=(errors,))
    skipped = write_sample_sheet(read_manifest(manifest), out, each=each, seed=seed)
    write_error_table(skipped, errors)
    say(f"written: {out}")
    finish(skipped, errors)


def _pairs(found: Audit) -> pd.DataFrame:
    """The gravest pairs by file name; the page shows all, with pictures."""
    import pandas as pd

    rows = [
        {
            "kind": pair.kind,
            "first": Path(pair.path_a).name,
            "second": Path(pair.path_b).name,
            "how": pair.transform,
            "across": ", ".join(
                name
                for name, crosses in (
                    ("splits", pair.across_splits),
                    ("patients", pair.across_patients),
                    ("labels", pair.across_labels),
                )
                if crosses
            ),
        }
        for pair in found.duplicates[:20]
    ]
    return pd.DataFrame(rows)
