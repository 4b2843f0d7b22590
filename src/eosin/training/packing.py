"""The images of a training as its network sees them: from the cache where there can be one."""

from __future__ import annotations

from eosin.pixels.cache import CacheError, PixelCache
from eosin.pixels.views import Views
from eosin.progress import Progress, working
from eosin.training.features import cache_folder


def packed_views(
    train: Views, val: Views, *, workers: int | None, progress: Progress
) -> tuple[Views, Views]:
    """Both decoded ahead, or as they are where the cache cannot be written, which is told.

    A training without the cache learns the same from the same bytes, only slower: a full disk is
    no reason not to begin.
    """
    cache = PixelCache.of(train.spec, root=cache_folder())
    try:
        with working(progress, "decoding, once", total=len(train) + len(val)):
            first, second = (
                cache.pack(views, workers=workers, progress=progress) for views in (train, val)
            )
    except CacheError as error:
        progress.note(f"no cache, images are decoded in every epoch: {error}")
        return train, val
    return first, second
