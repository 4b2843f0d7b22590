"""Dividing a manifest into splits or folds without cutting a patient in two."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from eosin.artefacts.manifest import SPLITS, Manifest
from eosin.data.scan import counts_at, magnifications
from eosin.errors import ConfigError, DataError
from eosin.protocol import Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from eosin.arrays import Floats, Ints, Texts

By = Literal["patient", "slide", "image", "site", "scanner"]
SITES = ("site", "scanner")
_DRAWS = 200


def split_by_fractions(
    manifest: Manifest,
    fractions: Sequence[float],
    *,
    by: By = "patient",
    seed: int = 0,
    keep_test: bool = False,
) -> Manifest:
    """Divide images into train, val and test, stratified by class and magnification.

    Args:
        manifest: the images.
        fractions: shares of train, val and test; of train and val with ``keep_test``. They sum to
            1; a share of zero leaves its split empty.
        by: what is never cut in two.
        seed: of the draw.
        keep_test: leave the images already in split ``test`` there and divide the others.

    Returns:
        The manifest with its ``split`` column filled and its protocol named.

    Raises:
        ConfigError: fractions that do not sum to 1, or of the wrong number.
        DataError: fewer patients (or slides, images) than splits, an image without a label, or no
            test split to keep.
    """
    names = SPLITS[: 2 if keep_test else 3]
    _check_fractions(fractions, names)
    kept = manifest.frame["split"] == "test"
    if not keep_test:
        kept[:] = False
    elif not kept.any():
        raise DataError("keep_test: the manifest has no test split to keep; leave keep_test out")
    elif kept.all():
        raise DataError(
            "keep_test: every image is in the test split, so none is left to divide; read the "
            "dataset's training images as well"
        )
    free = ~kept.to_numpy()
    filled = [name for name, share in zip(names, fractions, strict=True) if share]
    shares = [share for share in fractions if share]
    parts = _allocate(manifest.where(free), shares, by=by, seed=seed)
    split = manifest.frame["split"].to_numpy(dtype=object).copy()
    split[free] = [filled[part] for part in parts]
    frame = manifest.frame.assign(split=split, fold="")
    design = "/".join(f"{100 * fraction:.3g}" for fraction in fractions)
    design += " of the training folder, test folder kept" if keep_test else ""
    return _named(replace(manifest, frame=frame), by=by, design=design, seed=seed)


def split_into_folds(
    manifest: Manifest, folds: int, *, by: By = "patient", seed: int = 0
) -> Manifest:
    """Divide images into ``folds`` folds numbered from 1, stratified by class and magnification.

    Args:
        manifest: the images.
        folds: how many, at least 2.
        by: what is never cut in two.
        seed: of the draw.

    Raises:
        ConfigError: fewer than two folds.
        DataError: fewer patients (or slides, images) than folds, or an image without a label.
    """
    if folds < 2:
        raise ConfigError(f"folds must be at least 2, got {folds}")
    parts = _allocate(manifest, [1 / folds] * folds, by=by, seed=seed)
    frame = manifest.frame.assign(split="", fold=[str(part + 1) for part in parts])
    return _named(replace(manifest, frame=frame), by=by, design=f"{folds}-fold", seed=seed)


def leave_one_out(manifest: Manifest, *, by: By) -> Manifest:
    """One fold for each site (or scanner, slide, patient), in the order of their names.

    A note names the fold of each. Patients with images of several sites cross, and make the
    protocol leaky.

    Raises:
        ConfigError: no such column.
        DataError: fewer than two names in it, or a row without one.
    """
    units = _units(manifest, by)
    if (units == "").any():
        path = manifest.frame["path"][units == ""].iloc[0]
        raise DataError(f"{path}: names no {by}; fill its column {by!r} or drop the row")
    names = sorted(set(units))
    if len(names) < 2:
        raise DataError(f"every image is of the {by} {names[0]!r}: there is no other to leave out")
    fold_of = {name: str(fold) for fold, name in enumerate(names, start=1)}
    frame = manifest.frame.assign(split="", fold=[fold_of[name] for name in units])
    listed = ", ".join(f"{name} ({fold})" for name, fold in list(fold_of.items())[:30])
    more = "..." if len(names) > 30 else ""
    notes = (*manifest.notes, f"The {by} that each fold leaves out: {listed}{more}.")
    divided = replace(manifest, frame=frame, notes=notes)
    design = f"{len(names)}-fold" if by in SITES else "leave-one-out"
    return _named(divided, by=by, design=design, seed=None)


def hold_out(manifest: Manifest, fold: int, *, validation: bool = True) -> Manifest:
    """Turn folds into splits: ``fold`` is the test split, the next fold (cyclically) the
    validation split unless ``validation`` is false, and the others the training split. Images
    in no fold are in no split. ConfigError where there are no such folds, or too few.
    """
    folds = manifest.folds
    if not folds:
        raise ConfigError("the manifest has no folds; make them with `eosin split --folds 5`")
    if fold not in folds:
        raise ConfigError(f"fold {fold} does not exist; the manifest has folds {list(folds)}")
    if validation and len(folds) < 3:
        raise ConfigError(f"a validation fold needs at least 3 folds; the manifest has {folds}")
    following = folds[(folds.index(fold) + 1) % len(folds)]
    roles = {"": "", **{str(other): "train" for other in folds}}
    if validation:
        roles[str(following)] = "val"
    roles[str(fold)] = "test"
    return replace(
        manifest,
        frame=manifest.frame.assign(split=[roles[name] for name in manifest.frame["fold"]]),
    )


def split_table(manifest: Manifest) -> pd.DataFrame:
    """Images and patients in each split or fold: in all, per class, per magnification.

    Returns:
        One row a split or fold, named ``part``; columns ``images``, ``patients``, for each class
        ``<class> images`` and ``<class> patients``, and, where there are several magnifications,
        the images at each (``"40X"``...). No column of patients where they are unknown.
    """
    import pandas as pd

    known, levels = manifest.protocol.patients_known, magnifications(manifest)
    column = "fold" if manifest.folds else "split"
    order = [str(fold) for fold in manifest.folds] or [*SPLITS, ""]
    rows = []
    for part in order:
        inside = manifest.frame[manifest.frame[column] == part]
        if inside.empty:
            continue
        name = f"fold {part}" if column == "fold" else part or "unsplit"
        row: dict[str, object] = {"part": name, **_counts(inside, patients=known)}
        for label in manifest.task.classes:
            of_class = _counts(inside[inside["label"] == label], patients=known)
            row |= {f"{label} {what}": count for what, count in of_class.items()}
        if len(levels) > 1:
            row |= counts_at(inside, levels)
        rows.append(row)
    return pd.DataFrame(rows)


def _counts(images: pd.DataFrame, *, patients: bool) -> dict[str, int]:
    counts = {"images": len(images)}
    return {**counts, "patients": images["patient"].nunique()} if patients else counts


def _named(manifest: Manifest, *, by: By, design: str, seed: int | None) -> Manifest:
    known = manifest.protocol.patients_known
    protocol = Protocol(
        unit=by if known or by in SITES else "image",
        design=design,
        leaky=known and bool(manifest.crossing_patients()),
        patients_known=known,
        seed=seed,
        pseudo=manifest.protocol.pseudo,
    )
    return replace(manifest, protocol=protocol)


def _check_fractions(fractions: Sequence[float], names: Sequence[str]) -> None:
    if len(fractions) != len(names):
        raise ConfigError(f"want {len(names)} fractions ({', '.join(names)}), got {fractions}")
    total = sum(fractions)
    if not min(fractions) >= 0 or not abs(total - 1) <= 1e-6:
        shown = " + ".join(f"{share:g}" for share in fractions)
        raise ConfigError(
            f"fractions ({', '.join(names)}) must sum to 1, none below 0; got {shown} = {total:g}"
        )
    if sum(share > 0 for share in fractions) < len(names) - 1:  # a kept test split is one more
        raise ConfigError(f"fractions {list(fractions)} fill one split only; give two at least")


def _units(manifest: Manifest, by: By) -> pd.Series:
    if by not in get_args(By):
        raise ConfigError(f"split by {by!r} is unknown; want one of {list(get_args(By))}")
    column = "path" if by == "image" else by
    if column not in manifest.frame.columns:
        raise ConfigError(f"the manifest has no column {column!r}; add it, or split by patient")
    return manifest.frame[column]


def _allocate(manifest: Manifest, fractions: Sequence[float], *, by: By, seed: int) -> Ints:
    """Part of each image, shape (n,), so that every unit lies in one part."""
    units, codes = np.unique(_units(manifest, by).to_numpy(dtype=str), return_inverse=True)
    if len(units) < len(fractions):
        raise DataError(
            f"{len(units)} {by}s cannot fill {len(fractions)} splits; "
            "use fewer folds or add patients"
        )
    classes = manifest.label_index
    counts = _strata_counts(codes, classes, manifest.frame["magnification"].to_numpy(dtype=str))
    presence = np.zeros((len(units), len(manifest.task.classes)))
    presence[codes, classes] = 1.0
    features = counts if by == "image" else np.hstack([counts, presence])
    rng = np.random.default_rng(seed)
    best = _greedy(features, np.asarray(fractions), rng)
    for _ in range(_DRAWS):
        if _missing(presence, best, len(fractions)) == 0:
            break
        other = _greedy(features, np.asarray(fractions), rng)
        best = min(best, other, key=lambda drawn: _missing(presence, drawn, len(fractions)))
    return _with_none_empty(best, counts.sum(axis=1), len(fractions))[codes]


def _strata_counts(codes: Ints, classes: Ints, magnification: Texts) -> Floats:
    """Images of each unit in each class and magnification, shape (units, strata)."""
    strata = np.unique(np.stack([classes.astype(str), magnification]), axis=1, return_inverse=True)
    columns = strata[1].ravel()
    counts = np.zeros((codes.max() + 1, columns.max() + 1))
    np.add.at(counts, (codes, columns), 1.0)
    return counts


def _greedy(features: Floats, fractions: Floats, rng: np.random.Generator) -> Ints:
    """Place units one by one, each where its strata are furthest below their share.

    Large ones come first, but only roughly, so that another seed draws another division.

    The cost of a part is the sum over strata of the squared excess over its share, relative to
    the stratum's total: adding ``x`` to a part that holds ``h`` and should hold ``t`` costs
    ``(h + x - t)^2 - (h - t)^2``, divided by the share so that small splits fill in proportion.
    """
    totals = features.sum(axis=0)
    shares = features[:, totals > 0] / totals[totals > 0]  # a class may have no image here
    sizes = shares.sum(axis=1) * rng.uniform(0.5, 1.5, len(shares))
    order = np.argsort(-sizes, kind="stable")
    held = np.zeros((len(fractions), shares.shape[1]))
    parts = np.empty(len(shares), dtype=np.int64)
    for unit in order:
        gap = held - fractions[:, None]
        cost = ((gap + shares[unit]) ** 2 - gap**2).sum(axis=1) / fractions
        lowest = np.flatnonzero(cost <= cost.min() + 1e-12)
        parts[unit] = rng.choice(lowest)
        held[parts[unit]] += shares[unit]
    return parts


def _with_none_empty(parts: Ints, sizes: Floats, count: int) -> Ints:
    """The parts, each that is empty given the smallest unit of the part with most units.

    Where every class has one patient, the largest share is the best part for each.
    """
    filled = parts.copy()
    for empty in np.setdiff1d(np.arange(count), parts):
        givers = np.flatnonzero(filled == np.bincount(filled).argmax())
        filled[givers[sizes[givers].argmin()]] = empty
    return filled


def _missing(presence: Floats, parts: Ints, count: int) -> int:
    """How many parts are empty, or lack a class that has units enough for all parts."""
    held = np.zeros((count, presence.shape[1]))
    np.add.at(held, parts, presence)
    enough = presence.sum(axis=0) >= count
    return int((held[:, enough] == 0).sum()) + count - len(np.unique(parts))
