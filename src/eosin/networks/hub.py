"""Runs on a model hub: pushed with their card, pulled, and checked by their hashes."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from eosin.errors import ConfigError, DataError, ModelError
from eosin.files import disk_errors, drafted
from eosin.locks import one_writer
from eosin.networks.run import RECORD_NAME, Run, read_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CARD_NAME: Final = "README.md"
KINDS: Final = (".safetensors", ".json", ".onnx")  # nothing that runs code when it is opened


def push_run(
    run: Run, repository: str, *, card: str = "", public: bool = False, endpoint: str | None = None
) -> str:
    """Send a Run to a hub in one commit; a new repository is private unless ``public``.

    Args:
        run: every file of it is checked first.
        repository: ``owner/name``.
        card: the model card in Markdown; one without figures where empty.
        public: whether everybody may see a new repository, and the names of patients in it.
        endpoint: address of the hub; Hugging Face's by default.

    Returns:
        The address of the commit.

    Raises:
        ConfigError: no name of a repository; or the hub refuses.
        DataError: the hub cannot be reached.
        ModelError: a file is missing, changed, or of another kind than ``KINDS``.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    files = files_of(run)
    added = [CommitOperationAdd(name, path) for name, path in files.items()]
    added.append(CommitOperationAdd(CARD_NAME, (card or _plain_card(run)).encode()))
    api = HfApi(endpoint=endpoint)
    with _answers(repository):
        api.create_repo(repository, private=not public, exist_ok=True)
        said = api.create_commit(repository, added, commit_message=f"eosin Run {run.sha256[:12]}")
    return str(said.commit_url)


def pull_run(
    repository: str,
    folder: Path,
    *,
    revision: str | None = None,
    sha256: str | None = None,
    endpoint: str | None = None,
) -> Run:
    """Fetch a Run from a hub into a new folder; only files of ``KINDS``, all of them checked.

    Args:
        repository: ``owner/name``.
        folder: to make; nothing is left there where a check fails.
        revision: branch, tag or commit; the newest of the main branch by default.
        sha256: that the Run must have, as ``eosin push`` said it.
        endpoint: as for ``push_run``.

    Raises:
        ConfigError, DataError: as for ``push_run``; or ``folder`` exists.
        ModelError: no Run lies there, a file of it is missing or changed, or it is another Run.
    """
    from huggingface_hub import snapshot_download

    if folder.exists():
        raise ConfigError(f"{folder}: is there already; name another folder")
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with one_writer(folder), disk_errors(folder), drafted(folder, folder=True) as draft:
        with _answers(repository):
            snapshot_download(
                repository,
                revision=revision,
                local_dir=draft,
                allow_patterns=[f"*{kind}" for kind in KINDS],
                endpoint=endpoint,
            )
        if not (draft / RECORD_NAME).is_file():
            raise ModelError(f"{repository}: holds no {RECORD_NAME}, so no Run of eosin's")
        found = read_run(draft)
        if sha256 is not None and found.sha256 != sha256.lower():
            raise ModelError(f"{repository}: holds the Run {found.sha256}, want {sha256}")
        found.require_intact()
        draft.rename(folder)
    return read_run(folder)


def files_of(run: Run) -> dict[str, Path]:
    """Every file that using a Run takes, by its name in the Run's folder, ``/`` between parts.

    Raises:
        ModelError: one is missing, changed, outside of the folder, or of another kind.
    """
    run.require_intact()
    found: dict[str, Path] = {}
    for each in run.walk():
        for path in (each.folder / RECORD_NAME, *(each.folder / name for name in each.files)):
            if not path.is_relative_to(run.folder):
                raise ModelError(
                    f"{path}: lies outside of {run.folder}; push the Run that holds its members"
                )
            name = PurePosixPath(path.relative_to(run.folder))
            if name.suffix not in KINDS:
                raise ModelError(
                    f"{path}: only {', '.join(KINDS)} go to a hub; export with --format onnx"
                )
            found[str(name)] = path
    return found


def _plain_card(run: Run) -> str:
    return (
        "---\nlibrary_name: eosin\ntags: [histopathology, breast-cancer, eosin]\n---\n\n"
        f"# {run.record.backbone}, {run.record.task.name}\n\n"
        f"Classes: {', '.join(run.record.task.classes)}. Trained on {run.record.dataset}: "
        f"{run.record.protocol.name}. Research on breast histopathology only: not a diagnosis.\n\n"
        f"`eosin pull` checks it by SHA-256 `{run.sha256}`.\n"
    )


@contextmanager
def _answers(repository: str) -> Iterator[None]:
    """What a hub says of ``owner/name``, as a sentence."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if "/" not in repository:  # the hub would look for one of its own models
        raise ConfigError(f"{repository!r}: want OWNER/NAME")
    try:
        yield
    except HFValidationError as error:
        raise ConfigError(f"{repository!r}: want OWNER/NAME ({error})") from error
    except (LocalEntryNotFoundError, httpx.TransportError) as error:
        why = " ".join(str(error).split())  # it is of several lines
        raise DataError(f"{repository}: the hub cannot be reached ({why}); try again") from error
    except RuntimeError as error:  # what uploads end with, whatever went wrong
        raise DataError(f"{repository}: {error} Push again.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        fix = "look at the name, and log in with `hf auth login` or HF_TOKEN"
        raise ConfigError(f"{repository}: the hub answers {status}; {fix}") from error
