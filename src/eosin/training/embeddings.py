"""Features of many images as one AnnData file (.h5ad): its format, and reading it for probes.

The file follows AnnData's on-disk format 0.1.0 (https://anndata.readthedocs.io, "On-disk format"):
``X`` the features, ``obs`` the manifest's columns by image, ``uns/eosin`` what they were made
with. Tiles of slides lie in it as wsidata's ``fetch.features_anndata`` lays them for LazySlide:
``obsm/spatial`` has their upper left corners at level 0, and ``obs`` a ``tile_id`` and numbers.
h5py alone writes and reads it: AnnData's own library wants everything in memory to write.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import ConfigError, DataError
from eosin.files import valid_text
from eosin.pixels.reading import SkippedFile
from eosin.training.features import Features, tensors_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import h5py
    import pandas as pd

    from eosin.arrays import Floats, Ints
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.networks.torch_engine import TorchEngine


@dataclass(frozen=True)
class Embeddings:
    """An .h5ad of ``embed``, opened for reading; its matrix stays on disk."""

    path: Path
    made: dict[str, str]  # ``uns/eosin``
    images: tuple[str, ...]  # path of each row

    @property
    def settings(self) -> dict[str, object]:
        """The training settings that they settle."""
        own = {name: self.made[name] for name in ("backbone", "weights", "fit")}
        return {**own, "freeze": True, "embeddings": str(self.path)}

    def features(self, paths: Sequence[Path], engine: TorchEngine, spec: Preprocessing) -> Features:
        """The rows of some images, in their order.

        Raises:
            DataError: made with another network or preprocessing, or without some of the images.
        """
        if self.made["tensors_sha256"] != tensors_digest(engine):
            raise DataError(
                f"{self.path}: made with other weights than {engine.classifier.spec.name!r} has "
                f"here (there: {self.made['initial_weights']}); {_AGAIN}"
            )
        if self.made["preprocessing"] != as_text(asdict(spec)):
            raise DataError(
                f"{self.path}: made with another preprocessing than the Run's; {_AGAIN}"
            )
        rows = {image: row for row, image in enumerate(self.images)}
        unread = {item["path"]: item["reason"] for item in json.loads(self.made["skipped"])}
        wanted = [valid_text(str(path)) for path in paths]
        absent = [image for image in wanted if image not in rows and image not in unread]
        if absent:
            raise DataError(
                f"{self.path}: holds {len(wanted) - len(absent)} of the {len(wanted)} images asked "
                f"for (the first that it lacks: {absent[0]}); {_AGAIN}"
            )
        indices = np.array([k for k, image in enumerate(wanted) if image in rows], dtype=np.int64)
        order = np.array([rows[wanted[k]] for k in indices], dtype=np.int64)
        skipped = [
            SkippedFile(p, unread[w]) for p, w in zip(paths, wanted, strict=True) if w in unread
        ]
        with _opened(self.path) as file:
            found, inverse = np.unique(order, return_inverse=True)  # h5py wants ascending rows
            read, measures = (
                file[name][found][inverse] if len(found) else np.empty((0, 0))
                for name in ("X", _MEASURES)
            )
        values = np.asarray(read, np.float32)
        return Features(indices, values, tuple(skipped), measures=np.asarray(measures, np.float64))


_MEASURES = "obsm/acquisition"
_AGAIN = "embed these images again: eosin embed S.csv --backbone NAME -o E.h5ad"


def read_embeddings(path: Path) -> Embeddings:
    """Open an .h5ad; DataError where it is none of ``embed``'s."""
    with _opened(path) as file:
        made = file.get("uns/eosin")
        if made is None or not {"X", "obs"} <= set(file) or _MEASURES not in file:
            raise DataError(f"{path}: no embeddings of eosin's; {_AGAIN}")
        facts = {name: made[name].asstr()[()] for name in made}
        return Embeddings(path, facts, tuple(file["obs"]["_index"].asstr()[:]))


def write_frames(file: h5py.File, obs: pd.DataFrame, backbone: str, width: int) -> None:
    """Everything of an AnnData file but ``X`` and ``uns``: ``obs`` by image, ``var`` by feature."""
    tag(file, "anndata", "0.1.0")
    images = [valid_text(str(path)) for path in obs["path"]]
    columns = {name: [valid_text(str(value)) for value in obs[name]] for name in obs.columns}
    tiles = _tile_columns(obs)
    _write_frame(file.create_group("obs"), images, {**columns, **tiles})
    _write_frame(file.create_group("var"), [f"{backbone}_{k}" for k in range(width)], {})
    for name in ("layers", "obsm", "obsp", "varm", "varp"):
        tag(file.create_group(name), "dict", "0.1.0")
    if tiles:
        corners = np.column_stack([tiles["x"], tiles["y"]])
        tag(file["obsm"].create_dataset("spatial", data=corners), "array")


def _tile_columns(obs: pd.DataFrame) -> dict[str, Floats | Ints]:
    """Columns that are numbers where every row is a tile of a slide; none where one is not."""
    import pandas as pd

    if not {"slide", "x", "y", "mpp"} <= set(obs.columns):
        return {}
    numbers = {name: pd.to_numeric(obs[name], errors="coerce") for name in ("x", "y", "mpp")}
    columns = {name: column.to_numpy(np.float64) for name, column in numbers.items()}
    known = np.isfinite([columns["x"], columns["y"]]).all() and bool((obs["slide"] != "").all())
    return {**columns, "tile_id": np.arange(len(obs))} if known else {}


def _write_frame(
    group: h5py.Group, index: list[str], columns: Mapping[str, list[str] | Floats | Ints]
) -> None:
    import h5py

    tag(group, "dataframe")
    group.attrs["_index"] = "_index"
    group.attrs.create("column-order", list(columns), dtype=h5py.string_dtype())
    for name, values in {"_index": index, **columns}.items():
        if isinstance(values, np.ndarray):
            tag(group.create_dataset(name, data=values), "array")
        else:
            tag(group.create_dataset(name, data=values, dtype=h5py.string_dtype()), "string-array")


def write_measures(file: h5py.File, measures: Floats) -> None:
    """``obsm/acquisition``: how each image was taken, a column a name of ``ACQUISITION``."""
    tag(file.create_dataset(_MEASURES, data=measures), "array")


def write_made(file: h5py.File, made: dict[str, str]) -> None:
    """``uns/eosin``, as text."""
    uns = file.create_group("uns")
    own = uns.create_group("eosin")
    for group in (uns, own):
        tag(group, "dict", "0.1.0")
    for name, text in made.items():
        own[name] = text
        tag(own[name], "string")


def tag(element: h5py.Group | h5py.Dataset, kind: str, version: str = "0.2.0") -> None:
    """What AnnData knows an element by."""
    element.attrs["encoding-type"], element.attrs["encoding-version"] = kind, version


def as_text(value: object) -> str:
    """As JSON that two equal values share."""
    return json.dumps(value, sort_keys=True)


def require_h5py() -> None:
    """ConfigError where h5py is not installed."""
    try:
        import h5py  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'embeddings are written by h5py ({error}): pip install "eosin[encoders]"'
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    require_h5py()
    import h5py

    if not path.is_file():
        raise DataError(f"{path}: no such file; {_AGAIN}")
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise DataError(f"{path}: not a whole HDF5 file ({error}); {_AGAIN}") from error
    with file:
        yield file
