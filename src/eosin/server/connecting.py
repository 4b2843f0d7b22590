"""Opening the database of a record: settings of a connection, migrations, backup and restore."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import create_engine, event, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from eosin.errors import ConfigError, DataError, DiskError
from eosin.files import disk_errors, replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from eosin.files import StrPath

VERSION_TABLE: Final = "eosin_record_version"
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x656F73696E  # of PostgreSQL: whoever appends holds it until the commit
_PATIENCE: Final = 30  # seconds that a writer waits for the one before


def record_url(target: StrPath) -> URL:
    """The address of a record; ConfigError where it is of another kind of database."""
    if "://" not in str(target):
        return URL.create("sqlite", database=str(target))
    try:
        url = make_url(str(target))
    except ArgumentError:
        raise ConfigError(
            "the database's URL cannot be read; want FILE, sqlite:///FILE or postgresql://..."
        ) from None
    kind = url.get_backend_name()
    if kind == "sqlite" and url.database and url.database != ":memory:":
        return URL.create("sqlite", database=url.database)
    if kind in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise ConfigError(f"{hidden(url)}: want FILE, sqlite:///FILE or postgresql://USER@HOST/NAME")


def hidden(url: URL) -> str:
    """An address to print: the file, or the URL without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


@contextmanager
def database_errors(database: str) -> Iterator[None]:
    """Turn what a database refuses into a DiskError that names the database and the reason."""
    try:
        yield
    except SQLAlchemyError as fault:
        why = str(getattr(fault, "orig", None) or fault).strip().splitlines()[0]
        raise DiskError(
            f"{database}: the record cannot be read or written ({why}); see that the place is "
            "there and has room, and try again"
        ) from fault


def connected(url: URL, *, create: bool) -> Engine:
    """An engine on a record whose tables are up to date; errors as ``Record``."""
    if url.get_backend_name() == "sqlite":
        _require_record_file(Path(str(url.database)), create=create)
        engine = create_engine(url, connect_args={"timeout": _PATIENCE})
        event.listen(engine, "connect", _prepare)
    else:
        engine = create_engine(url, pool_pre_ping=True)
    event.listen(engine, "begin", _begin)
    with ExitStack() as undone, database_errors(hidden(url)):
        undone.callback(engine.dispose)
        with engine.execution_options(writes=True).begin() as connection:
            _upgrade(connection, hidden(url), create=create)
        undone.pop_all()
    return engine


def _require_record_file(path: Path, *, create: bool) -> None:
    with disk_errors(path, doing="read or written"):
        if not path.exists():
            if not create:
                raise DataError(f"{path}: no such record; `eosin serve --db` makes one")
            path.parent.mkdir(parents=True, exist_ok=True)
        elif path.stat().st_size:
            with path.open("rb") as stream:
                if stream.read(16) != b"SQLite format 3\0":
                    raise DataError(f"{path}: is no SQLite database; name another file")


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    """Settings of a connection to SQLite; transactions are begun by ``_begin`` alone."""
    connection.isolation_level = None
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise DataError(f"SQLite cannot write ahead here (it says {mode!r}); name a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    elif writes:
        connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _upgrade(connection: Connection, database: str, *, create: bool) -> None:
    """Run the migrations that are missing; DataError where the database is not ours to change."""
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes |= {"connection": connection, "version_table": VERSION_TABLE}
    scripts = ScriptDirectory.from_config(config)
    options = {"version_table": VERSION_TABLE}
    found = MigrationContext.configure(connection, opts=options).get_current_revision()
    if found is None and (not create or inspect(connection).get_table_names()):
        raise DataError(f"{database}: is a database, but no record of eosin's; name another")
    if found is not None and found not in {each.revision for each in scripts.walk_revisions()}:
        raise DataError(f"{database}: was written by a newer eosin (version {found}); update eosin")
    if found != scripts.get_current_head():
        command.upgrade(config, "head")


def copy_record(source: StrPath, target: Path) -> None:
    """Copy a record of SQLite while others write it, and check the copy: backup and restore.

    Raises:
        ConfigError: the source is in PostgreSQL, whose own tools do this.
        DataError: the source is no record, something lies at the target, or the copy is damaged.
    """
    url = record_url(source)
    if url.get_backend_name() != "sqlite":
        raise ConfigError(f"{hidden(url)}: PostgreSQL is copied by pg_dump and pg_restore")
    connected(url, create=False).dispose()
    for file in (target, *(Path(f"{target}{end}") for end in ("-wal", "-journal"))):
        if file.exists():  # what an older record left beside it would be taken for the copy's
            raise DataError(f"{file}: is there already, and no record is replaced; name another")
    with replacing(target) as draft:
        with (
            closing(sqlite3.connect(str(url.database), timeout=_PATIENCE)) as old,
            closing(sqlite3.connect(draft)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")  # all of it in the one file
            (said,) = new.execute("PRAGMA integrity_check").fetchone()
        if said != "ok":
            raise DataError(f"{hidden(url)}: its copy is damaged ({said}); restore an older one")
