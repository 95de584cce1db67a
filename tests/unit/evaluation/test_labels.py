"""Labels of each protocol in the classes of a model."""

from __future__ import annotations

from mien.datasets import read_dataset
from mien.evaluation.labels import labels_by_protocol, official_labels, select_labeled
from mien.manifest import read_manifest
from support.datasets import write_ferplus


def test_face_without_a_majority_has_an_argmax_label_only(tiny_model, tmp_path):
    manifest = read_manifest(tiny_model)
    # four votes for neutral, four for happiness and two for surprise; nine votes for happiness
    index = read_dataset("ferplus", write_ferplus(tmp_path)).select("valid")
    labels = labels_by_protocol(manifest, index)
    assert {name: values.tolist() for name, values in labels.items()} == {
        "majority": [-1, manifest.labels.index("happiness")],
        "argmax": [manifest.labels.index("neutral"), manifest.labels.index("happiness")],
    }
    assert official_labels(manifest, index).tolist() == labels["majority"].tolist()
    assert select_labeled(index).samples == index.samples
