"""The images of a training as its network sees them: from the cache where there can be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.pixels.cache import CacheError, PixelCache
from eosin.pixels.views import Views
from eosin.training.features import cache_folder

if TYPE_CHECKING:
    from eosin.training.progress import Progress


def packed_views(
    train: Views, val: Views, *, workers: int, progress: Progress
) -> tuple[Views, Views]:
    """Both decoded ahead, or as they are where the cache cannot be written, which is told.

    A training without the cache learns the same from the same bytes, only slower: a full disk is
    no reason not to begin.
    """
    cache = PixelCache.of(train.spec, root=cache_folder())
    total = len(train) + len(val)
    try:
        first, second = (
            cache.pack(
                views,
                workers=workers,
                on_files=lambda files: progress.decoded(files, of=total),
                on_wait=lambda: progress.note(
                    f"waiting for another training that decodes images into {cache.folder}"
                ),
            )
            for views in (train, val)
        )
    except CacheError as error:
        progress.note(f"no cache, images are decoded in every epoch: {error}")
        return train, val
    return first, second
