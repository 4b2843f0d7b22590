"""Speed of the synthetic tissue on one core, and how hard it is to learn.

Run: ``python benchmarks/synthetic.py [--weights tf_efficientnetv2_b0.safetensors]``. The probe
is a logistic regression on mean colours and, with weights, on features of the frozen network.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from bars import at_least
from numpy.typing import NDArray

from eosin.data.synthetic import SyntheticOptions, write_synthetic

FloatArray = NDArray[np.float64]
BAR = 30.0


def images_per_second(images: int = 120) -> tuple[float, float]:
    """Images of 224 px drawn and written by one thread in a second of the clock and of the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        write_synthetic(Path(folder, "first"), SyntheticOptions(patients=24, images=24), workers=1)
        options = SyntheticOptions(patients=24, images=images)
        start, busy = time.perf_counter(), time.process_time()
        write_synthetic(Path(folder, "second"), options, workers=1)
        clock, used = time.perf_counter() - start, time.process_time() - busy
        return images / clock, images / used


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """One written image, (size, size, 3) RGB."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise SystemExit(f"{path} could not be read back")
    return np.asarray(pixels, np.uint8)


def colour_features(paths: list[Path]) -> FloatArray:
    """Mean and deviation of each channel, (n, 6)."""
    images = [read_rgb(path).reshape(-1, 3) for path in paths]
    return np.array([np.concatenate([im.mean(0), im.std(0)]) for im in images], np.float64)


def network_features(paths: list[Path], weights: Path) -> FloatArray:
    """Pooled features of the frozen tf_efficientnetv2_b0, (n, 1280)."""
    import timm
    import torch
    from safetensors.torch import load_file

    model = timm.create_model("tf_efficientnetv2_b0", num_classes=0)
    model.load_state_dict(load_file(weights))
    model.eval()
    features = []
    with torch.inference_mode():
        for start in range(0, len(paths), 16):
            batch = [read_rgb(path) for path in paths[start : start + 16]]
            pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() / 127.5 - 1
            features.append(model(pixels).numpy().astype(np.float64))
    return np.concatenate(features)


def probe(features: FloatArray, labels: FloatArray, groups: FloatArray | None) -> float:
    """Five-fold AUC of a logistic regression, mean of three shuffles; grouped when told."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = []
    for shuffle in range(3):
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        folds = kind(5, shuffle=True, random_state=shuffle)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
        p = cross_val_predict(
            model, features, labels, groups=groups, cv=folds, method="predict_proba"
        )
        scores.append(roc_auc_score(labels, p[:, 1]))
    return float(np.mean(scores))


def learnability(seed: int, weights: Path | None) -> None:
    """Print the AUC of each probe with image-level and patient-level folds."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_synthetic(Path(folder), SyntheticOptions(seed=seed))
        labels = np.array([path.name.startswith("SOB_M") for path in paths], np.float64)
        slides = [path.name.split("-")[2] for path in paths]
        groups = np.unique(slides, return_inverse=True)[1].astype(np.float64)
        sets = {"mean colour": colour_features(paths)}
        if weights is not None:
            sets["frozen network"] = network_features(paths, weights)
    for name, features in sets.items():
        image, patient = probe(features, labels, None), probe(features, labels, groups)
        print(f"seed {seed}  {name:14s}  AUC image-level {image:.3f}  patient-level {patient:.3f}")


def main() -> None:
    """Measure on one core and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="safetensors of tf_efficientnetv2_b0")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    clock, used = images_per_second()
    print(f"images of 224 px on one core: {clock:.1f} a second ({used:.1f} a CPU second)")
    at_least("synthetic tissue of 224 px, images a second of one core", used, BAR)
    for seed in range(arguments.seeds):
        learnability(seed, arguments.weights)


if __name__ == "__main__":
    main()
