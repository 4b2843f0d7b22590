"""`eosin split`: divide a manifest without cutting patients in two, or say that it does."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


class By(StrEnum):
    """What stays whole."""

    patient = "patient"
    slide = "slide"
    image = "image"
    site = "site"
    scanner = "scanner"


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no number; give three shares, of train, val and test, e.g. 0.85 0.15 0"
        ) from None


def split(
    manifest: Annotated[Path, typer.Argument(metavar="M.csv", help="A manifest.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="S.csv", help="The split manifest.")],
    by: Annotated[By, typer.Option(help="What is never cut in two.")] = By.patient,
    fractions: Annotated[
        tuple[float, float, float] | None,
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
    from eosin.cli.console import print_frame, print_protocol, say
    from eosin.data.splits import (
        SITES,
        leave_one_out,
        split_by_fractions,
        split_into_folds,
        split_table,
    )

    if folds is not None and (fractions is not None or keep_test):
        raise ConfigError("give either --folds or --fractions (with --keep-test), not both")
    require_table(out, MANIFEST, inputs=[manifest])
    images = read_manifest(manifest)
    if by.value in SITES and not (folds or fractions):
        divided = leave_one_out(images, by=by.value)
    elif folds is not None:
        divided = split_into_folds(images, folds, by=by.value, seed=seed)
    else:
        shares: tuple[float, ...] = fractions or (0.70, 0.15, 0.15)
        if keep_test:
            rest = sum(shares[:2]) or 1.0
            shares = (shares[0] / rest, shares[1] / rest)
        divided = split_by_fractions(images, shares, by=by.value, seed=seed, keep_test=keep_test)
    divided.write(out)
    print_frame(_narrow(split_table(divided), divided.task.classes))
    print_protocol(divided.protocol, divided.notes)
    say(f"written: {out}")


def _narrow(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """One column a class, ``images (patients)``: eight classes must fit on a screen."""
    narrow = table.rename(columns={f"{name} images": name for name in classes})
    for name in filter(lambda name: f"{name} patients" in table, classes):
        patients = narrow.pop(f"{name} patients")
        narrow[name] = [f"{n} ({m})" for n, m in zip(narrow[name], patients, strict=True)]
    return narrow
