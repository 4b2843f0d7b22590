"""How a server is started: which Runs, where it listens, who may ask, and how much."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from eosin.errors import ConfigError
from eosin.files import disk_errors
from eosin.settings import checked_options

SHORTEST_TOKEN: Final = 16  # characters


@checked_options
@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may cost.

    Raises:
        ConfigError: one is below 1.
    """

    request_bytes: int = 64 * 2**20  # of one request
    all_bytes: int = 512 * 2**20  # of all requests that are being received or answered
    images: int = 64  # of one request
    upload_seconds: float = 30.0  # that a request may take to arrive
    answer_seconds: float = 120.0  # and then to be answered
    requests: int = 128  # at once
    queued_images: int = 256  # received, and not yet answered
    queued_explanations: int = 8  # the same of explanations

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}: want 1 or more")


@checked_options
@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve.

    Attributes:
        runs: folders of the Runs.
        data: a folder or manifest of images to show, by id; None for none.
        db: where answers of readers are kept: a file or a database's URL; None for nowhere.
        host: to listen on. Any but this machine's own (loopback) needs a token.
        port: to listen on; 0 for any that is free.
        token: that every request must name; None asks for none.
        show_patients: whether pages name patients.
        allow_seen: score patients that a Run was trained or validated on, and say so.
        engine: auto, torch, onnxruntime or openvino.
        device: auto, cpu, cuda or mps.
        batch_size: images a forward pass, at most.
        wait_ms: how long a first image waits for others to share its pass.
        limits: what clients may cost.

    Raises:
        ConfigError: no Run, no token where one is needed, or one that is easily guessed.
    """

    runs: tuple[Path, ...]
    data: Path | None = None
    db: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    show_patients: bool = False
    allow_seen: bool = False
    engine: str = "auto"
    device: str = "auto"
    batch_size: int = 16
    wait_ms: float = 4.0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.runs:
            raise ConfigError("name at least one Run to serve")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size = {self.batch_size}: want 1 or more")
        if self.token is None and not self.loopback:
            raise ConfigError(
                f"host {self.host!r} can be reached from other machines: give --token-file, or "
                "listen on 127.0.0.1"
            )
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise ConfigError(
                f"the token has {len(self.token)} characters; want {SHORTEST_TOKEN} or more"
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the host."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_token(path: Path) -> str:
    """The token in a file, without the space around it.

    Raises:
        ConfigError: it is no line of printable ASCII.
        DiskError: the file cannot be read.
    """
    with disk_errors(path, doing="read"):
        token = path.read_bytes().decode("utf-8", "replace").strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{path}: holds no token; want one line of letters and digits, as "
            "`openssl rand -hex 32` makes it"
        )
    return token
