"""The server's process: it listens at once, says where, and ends when it is told to."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import uvicorn

from eosin.errors import ConfigError
from eosin.reporting.wording import counted
from eosin.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from eosin.server.settings import ServeOptions

_LAST_SECONDS = 10  # for what is being answered when the server is stopped


def run_server(options: ServeOptions, say: Callable[[str], object]) -> None:
    """Serve until Ctrl-C or SIGTERM, which is raised again once all is answered.

    Args:
        options: how.
        say: told where to ask.

    Raises:
        ConfigError: the address cannot be listened on, or an engine does not suit a Run.
        ModelError: a Run is not whole.
    """
    app = create_app(options)
    scoring = app.state.service.scoring
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # names of images may name patients
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=_LAST_SECONDS,
    )
    server = uvicorn.Server(config)
    scoring.when_broken = lambda: setattr(server, "should_exit", True)
    with _listening(options) as listener:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        say(f"{counted(len(options.runs), 'Run')} at http://{shown}:{port}; stop with Ctrl-C")
        server.run(sockets=[listener])
    if scoring.fault is not None:
        raise scoring.fault


def _listening(options: ServeOptions) -> socket.socket:
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
        family, *_, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=256)
    except OSError as fault:
        raise ConfigError(
            f"cannot listen on {options.host}:{options.port} ({fault.strerror or fault}); name "
            "another --port or --host"
        ) from fault
