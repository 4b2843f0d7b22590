"""Decoded tiles of all open slides, those used last, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Final

from eosin.arrays import UInt8Image

_MOST_BYTES: Final = 128 * 2**20  # two rows of tiles of a slide 85,000 pixels wide


class TileCache:
    """Keeps what was decoded; a tile that several threads want at once is decoded once."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most, self._bytes, self._lock = most_bytes, 0, Lock()
        self._tiles: OrderedDict[Hashable, UInt8Image] = OrderedDict()
        self._coming: dict[Hashable, Future[UInt8Image]] = {}

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._tiles

    def get(self, key: Hashable, decode: Callable[[], UInt8Image]) -> UInt8Image:
        """The tile of ``key``; ``decode`` is called where it is not kept.

        What ``decode`` raises is raised in every thread that waits for that tile, and not kept.
        """
        with self._lock:
            if (found := self._tiles.get(key)) is not None:
                self._tiles.move_to_end(key)
                return found
            if ours := key not in self._coming:
                self._coming[key] = Future()
            coming = self._coming[key]
        if ours:
            try:
                coming.set_result(decode())
            except BaseException as fault:
                coming.set_exception(fault)
            self._keep(key, coming)
        return coming.result()

    def _keep(self, key: Hashable, done: Future[UInt8Image]) -> None:
        with self._lock:
            del self._coming[key]
            if done.exception() is None:
                self._tiles[key] = done.result()
                self._bytes += done.result().nbytes
            while self._bytes > self._most:
                self._bytes -= self._tiles.popitem(last=False)[1].nbytes


TILES: Final = TileCache()
