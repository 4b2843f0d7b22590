"""Which images models get wrong, and how far their mistakes are the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import PrivateAttr, model_validator

from eosin.artefacts.codec import Strict
from eosin.artefacts.values import Count
from eosin.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


class Mistakes(Strict):
    """How many images each of M models gets wrong, by the most probable class.

    Attributes:
        wrong: of each model.
        wrong_alone: that all others get right, of each model.
        wrong_shared: that both of two models get wrong, M rows of M; their own on the diagonal.
        images_all_get_wrong, images_any_gets_wrong: by every model, and by at least one.
    """

    wrong: tuple[Count, ...]
    wrong_alone: tuple[Count, ...]
    wrong_shared: tuple[tuple[Count, ...], ...]
    images_all_get_wrong: Count
    images_any_gets_wrong: Count
    _images: pd.DataFrame | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        sizes = {len(self.wrong_alone), len(self.wrong_shared), *map(len, self.wrong_shared)}
        if sizes != {len(self.wrong)}:
            raise DataError("wrong, wrong_alone and wrong_shared count other numbers of models")
        if any(row[index] != self.wrong[index] for index, row in enumerate(self.wrong_shared)):
            raise DataError("wrong_shared: its diagonal is not wrong")
        return self

    def jaccard(self, one: int, other: int) -> float | None:
        """Images that both get wrong, as a share of those that either does (Jaccard 1901).

        None where neither of the two models (by index) errs.
        """
        shared = self.wrong_shared[one][other]
        either = self.wrong[one] + self.wrong[other] - shared
        return shared / either if either else None

    def frame(self) -> pd.DataFrame:
        """A row an image that some model gets wrong; those that most models do come first.

        Columns: ``path, patient, magnification, label, models_wrong`` and ``predicted_<model>`` for
        each model: the class that it chose. DataError where the comparison was read from a file.
        """
        if self._images is None:
            raise DataError("a comparison's file counts its images; mistakes.csv names them")
        return self._images

    def naming(self, images: pd.DataFrame) -> Self:
        """The same, with the table of ``frame``."""
        named = self.model_copy()
        named._images = images
        return named
