"""Starting eosin is cheap: nothing heavy is imported before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import eosin

HEAVY = ("torch", "torchvision", "timm", "matplotlib", "sklearn", "pandas", "scipy", "cv2")


@pytest.mark.parametrize(
    "code",
    [
        "import eosin",
        "import eosin.cli.app",
        "import sys; sys.argv = ['eosin', '--help']; from eosin.cli.app import app\n"
        "try:\n    app()\nexcept SystemExit:\n    pass",
    ],
    ids=["import", "command line", "help"],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    check = (
        f"{code}\nimport sys\nheavy = [m for m in {HEAVY} if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_reading_scoring_and_reporting_import_no_torch() -> None:
    rooms = (
        "eosin.data.breakhis, eosin.data.bci, eosin.data.folder, eosin.data.splits, "
        "eosin.data.audit, eosin.data.synthetic, eosin.pixels.reading, "
        "eosin.pixels.preprocessing, eosin.evaluation.evaluate, eosin.evaluation.curves, "
        "eosin.reporting.report, eosin.reporting.audit_page, eosin.networks.run"
    )
    check = f"import sys, {rooms}\nassert 'torch' not in sys.modules and 'timm' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_public_name_exists_and_the_list_is_sorted() -> None:
    assert eosin.__all__ == sorted(eosin.__all__)
    for name in eosin.__all__:
        assert getattr(eosin, name) is not None
    assert dir(eosin) == eosin.__all__


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'classify'"):
        _ = eosin.classify  # type: ignore[attr-defined]
