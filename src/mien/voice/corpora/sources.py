"""Names and licenses of the corpora, as the manifest of a model states what it has learned from."""

from __future__ import annotations

from mien.manifest import TrainingSource

SOURCES = {
    "emodb": TrainingSource(
        name="EmoDB (Burkhardt et al. 2005): 535 utterances of ten German actors in seven acted expressions",
        license="CC0",
    ),
    "crema-d": TrainingSource(
        name="CREMA-D (Cao et al. 2014): utterances of 91 actors in six acted expressions, English", license="ODbL 1.0"
    ),
    "ravdess": TrainingSource(
        name="RAVDESS (Livingstone and Russo 2018): utterances of 24 actors in eight acted expressions, English",
        license="CC BY-NC-SA 4.0",
    ),
    "meld": TrainingSource(
        name="MELD (Poria et al. 2019): utterances of a television series in seven perceived expressions, English",
        license="GPL 3.0 for the labels; the clips belong to their owners",
    ),
    "iemocap": TrainingSource(
        name="IEMOCAP (Busso et al. 2008): utterances of ten actors in seven perceived expressions, English",
        license="for research, on request",
    ),
}
