"""How often models are right about FER+ faces that its ten annotators agreed on, and about those that divided them.

python benchmarks/agreement.py ferplus.zip [--model expression mobile] [--together]

"Again" draws ten votes anew from each face's own votes: as often at most would ten other people come to the same label.
"""

from __future__ import annotations

import numpy as np
from validation import counted_faces, model_parser

from mien import metrics
from mien.evaluation.labels import official_labels
from mien.evaluation.predictions import predict_dataset
from mien.inference.classifier import ExpressionClassifier

LEADS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 10))
"""Votes by which the commonest answer leads the second, from and to."""
DRAWS = 500


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument("--together", action="store_true", help="average the models' probabilities")
    options = parser.parse_args()
    faces = counted_faces(options.data)
    classifiers = [ExpressionClassifier(model) for model in options.model]
    labels = official_labels(classifiers[0].manifest, faces)
    votes = np.array([sample.votes for sample in faces.samples])
    readings = [metrics.softmax(predict_dataset(classifier, faces).logits) for classifier in classifiers]
    names = options.model
    if options.together:
        names, readings = ["together"], [np.mean(readings, axis=0)]
    right = {"again": vote_again(votes, labels)}
    right |= {name: reading.argmax(axis=1) == labels for name, reading in zip(names, readings, strict=True)}
    leads = np.diff(np.sort(votes, axis=1)[:, -2:], axis=1)[:, 0]
    print("lead   faces  ", "  ".join(f"{name:>6}" for name in right))
    for least, most in (*LEADS, (0, 10)):
        chosen = (leads >= least) & (leads <= most)
        told = "  ".join(f"{share[chosen].mean():{max(6, len(name))}.1%}" for name, share in right.items())
        print(f"{least:>2}-{most:<2} {chosen.sum():6,}  ", told)


def vote_again(votes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The share (N,) of draws of ten votes from each face's own (N, C) that give its label (N,) again."""
    random = np.random.default_rng(0)
    agreed = np.zeros(len(votes))
    for _ in range(DRAWS):
        drawn = random.multinomial(10, votes / votes.sum(axis=1, keepdims=True))
        agreed += (drawn + random.random(drawn.shape)).argmax(axis=1) == labels  # ties by chance
    return agreed / DRAWS


if __name__ == "__main__":
    main()
