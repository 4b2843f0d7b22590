"""What the evaluation room costs to enter."""

from __future__ import annotations

import subprocess
import sys


def test_evaluation_is_imported_without_torch_scikit_learn_or_matplotlib():
    code = (
        "import sys\n"
        "import eosin.evaluation.evaluate, eosin.evaluation.curves\n"
        "heavy = {'torch', 'timm', 'sklearn', 'scipy', 'matplotlib', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
