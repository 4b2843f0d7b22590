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
        """The tiles of ``keys``; ``fetch`` gives what decodes those that nobody has or fetches.

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
                self._settle(key, fault)
            raise
        for key, decode in zip(ours, decoders, strict=True):
            try:
                self._settle(key, decode())
            except BaseException as fault:
                self._settle(key, fault)
        return found | {key: each.result() for key, each in coming.items()}

    def _settle(self, key: Hashable, done: UInt8Image | BaseException) -> None:
        with self._lock:
            coming = self._coming.pop(key)
            if isinstance(done, BaseException):
                coming.set_exception(done)
                return
            coming.set_result(done)
            self._tiles[key] = done
            self._bytes += done.nbytes
            while self._bytes > self._most:
                self._bytes -= self._tiles.popitem(last=False)[1].nbytes


TILES: Final = TileCache()
