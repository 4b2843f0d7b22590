"""Decoded tiles of all open slides, those used last, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Final, TypeVar

from eosin.arrays import UInt8Image

K = TypeVar("K", bound=Hashable)
_MOST_BYTES: Final = 128 * 2**20  # two rows of tiles of a slide 85,000 pixels wide


class TileCache:
    """Keeps what was decoded; a tile that several threads want at once is decoded once."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most, self._bytes, self._lock = most_bytes, 0, Lock()
        self._tiles: OrderedDict[Hashable, UInt8Image] = OrderedDict()
        self._coming: dict[Hashable, Future[UInt8Image]] = {}

    def get(
        self, keys: Sequence[K], fetch: Callable[[Sequence[K]], Sequence[Callable[[], UInt8Image]]]
    ) -> dict[K, UInt8Image]:
        """The tiles of ``keys``; ``fetch`` gives what decodes those that are neither kept nor
        under way.

        What it or a decoder raises is raised in every thread that waits for that tile, not kept.
        """
        with self._lock:
            found = {key: self._tiles[key] for key in keys if key in self._tiles}
            for key in found:
                self._tiles.move_to_end(key)
            ours = [key for key in keys if key not in found and key not in self._coming]
            self._coming |= {key: Future() for key in ours}
            coming = {key: self._coming[key] for key in keys if key not in found}
        try:
            decoders = fetch(ours) if ours else ()
        except BaseException as fault:
            for key in ours:
                coming[key].set_exception(fault)
                self._keep(key, coming[key])
            raise
        for key, decode in zip(ours, decoders, strict=True):
            try:
                coming[key].set_result(decode())
            except BaseException as fault:
                coming[key].set_exception(fault)
            self._keep(key, coming[key])
        return found | {key: each.result() for key, each in coming.items()}

    def _keep(self, key: Hashable, done: Future[UInt8Image]) -> None:
        with self._lock:
            del self._coming[key]
            if done.exception() is None:
                self._tiles[key] = done.result()
                self._bytes += done.result().nbytes
            while self._bytes > self._most:
                self._bytes -= self._tiles.popitem(last=False)[1].nbytes


TILES: Final = TileCache()
