"""`eosin split`: divide a manifest without cutting patients in two, or say that it does."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli.console import print_frame, print_protocol, say
from eosin.cli.datasets import AnyManifest
from eosin.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from eosin.artefacts.manifest import Manifest


class By(StrEnum):
    """What stays whole."""

    patient = "patient"
    slide = "slide"
    image = "image"
    site = "site"
    scanner = "scanner"


_Shares = tuple[float, float, float]


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no number; give three shares, of train, val and test, e.g. 0.85 0.15 0"
        ) from None


def split(
    manifest: AnyManifest,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="S.csv", help="The split manifest.")],
    by: Annotated[By, typer.Option(help="What is never cut in two.")] = By.patient,
    fractions: Annotated[
        _Shares | None,
        typer.Option(
            metavar="TRAIN VAL TEST",
            parser=_share,
            help="Three shares that sum to 1 (0.70 0.15 0.15); one may be 0.",
        ),
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Folds instead of shares.")] = None,
    keep_test: Annotated[
        bool,
        typer.Option(
            "--keep-test",
            help="Keep the test split there is; the first two shares divide the rest.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
) -> None:
    """Divide a manifest into train, val and test, or into folds.

    Stratified by class and magnification as far as whole patients allow. `--by image` is the
    published BreakHis protocol; where it puts a patient on both sides its name says so. `--by
    site` (or scanner) leaves one site out in each fold.
    """
    from eosin.artefacts.manifest import read_manifest
    from eosin.artefacts.outputs import MANIFEST, require_table
    from eosin.data.splits import SITES, split_into_folds, split_table

    if folds is not None and (fractions is not None or keep_test):
        raise ConfigError("give either --folds or --fractions (with --keep-test), not both")
    if keep_test and by.value in SITES and fractions is None:
        raise ConfigError(f"--keep-test needs --fractions where --by is {by.value}; add them")
    require_table(out, MANIFEST, inputs=[manifest])
    images = read_manifest(manifest)
    if folds is None:
        divided = _in_shares(images, by, fractions, seed=seed, keep_test=keep_test)
    else:
        divided = split_into_folds(images, folds, by=by.value, seed=seed)
    divided.write(out)
    print_frame(_narrow(split_table(divided), divided.task.classes))
    print_protocol(divided.protocol, divided.notes)
    say(f"written: {out}")


def _in_shares(
    images: Manifest, by: By, fractions: _Shares | None, *, seed: int, keep_test: bool
) -> Manifest:
    """Train, val and test; without fractions one fold for each site, or the usual shares."""
    from eosin.data.splits import SITES, leave_one_out, split_by_fractions

    if by.value in SITES and fractions is None:
        return leave_one_out(images, by=by.value)
    shares: tuple[float, ...] = fractions or (0.70, 0.15, 0.15)
    if keep_test:
        rest = sum(shares[:2]) or 1.0
        shares = (shares[0] / rest, shares[1] / rest)
    return split_by_fractions(images, shares, by=by.value, seed=seed, keep_test=keep_test)


def _narrow(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """One column a class, ``images (patients)``: eight classes must fit on a screen."""
    narrow = table.rename(columns={f"{name} images": name for name in classes})
    for name in filter(lambda name: f"{name} patients" in table, classes):
        patients = narrow.pop(f"{name} patients")
        narrow[name] = [f"{n} ({m})" for n, m in zip(narrow[name], patients, strict=True)]
    return narrow
