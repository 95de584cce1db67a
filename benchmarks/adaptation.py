"""`mien adapt` on 100, 300, 700 and 1,000 labeled photographs, measured on photographs of other people.

python benchmarks/adaptation.py labels.csv [--group person] [--model expression] [--seeds 5]

The table has the columns image, label and the group. For every size and seed whole groups are drawn at random; accuracy
and mean recall before and after are those of the images of all other groups.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from validation import open_classifier

import mien
from mien.adaptation.adapt import extract_features
from mien.adaptation.correction import FaceFeatures
from mien.adaptation.selection import choose_correction, scores
from mien.evaluation.labels import select_labeled

SIZES = (100, 300, 700, 1000)


def split(faces: FaceFeatures, size: int, seed: int) -> tuple[FaceFeatures, FaceFeatures]:
    """Return about `size` faces of random groups, and the faces of all other groups, which may be none."""
    order = np.random.default_rng(seed).permutation(faces.groups.max() + 1)
    ranks = np.argsort(order)[faces.groups]
    last = np.sort(ranks)[min(size, len(ranks)) - 1]
    return faces.select(np.flatnonzero(ranks <= last)), faces.select(np.flatnonzero(ranks > last))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--group", default="person")
    parser.add_argument("--model", default="expression")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    index = select_labeled(mien.read_dataset("table", options.table))
    faces, _, _ = extract_features(open_classifier(options.model), index, options.group)
    print(" faces  written  seconds  accuracy before, after; mean recall before, after; change and its error")
    for size in SIZES:
        rows, written, seconds = [], 0, 0.0
        splits = [split(faces, size, seed) for seed in range(options.seeds)]
        if not all(len(unseen) for _, unseen in splits):
            print(f"{size:6d}  skipped: no faces of other groups are left of {len(faces)}")
            continue
        for seen, unseen in splits:
            started = time.perf_counter()
            choice = choose_correction(seen)
            seconds += time.perf_counter() - started
            written += choice.correction is not None
            logits = choice.correction.apply(unseen) if choice.correction else unseen.logits
            rows.append([*scores(unseen.logits, unseen.labels), *scores(logits, unseen.labels)])
        accuracy, recall, new_accuracy, new_recall = np.mean(rows, axis=0)
        changes = np.array(rows)[:, 2:] - np.array(rows)[:, :2]
        errors = changes.std(axis=0, ddof=1) / np.sqrt(options.seeds) if options.seeds > 1 else np.full(2, np.nan)
        change, recall_change = (
            f"{mean:+.1%}" + ("" if np.isnan(error) else f" ({error:.1%})")
            for mean, error in zip(changes.mean(axis=0), errors, strict=True)
        )
        print(
            f"{size:6d}{written:6d}/{options.seeds}{seconds / options.seeds:9.1f}  {accuracy:.1%} {new_accuracy:.1%}; "
            f"{recall:.1%} {new_recall:.1%}; {change}, {recall_change}"
        )


if __name__ == "__main__":
    main()
