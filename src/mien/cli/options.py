"""Options that several commands share, each with one definition and one help text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

from cyclopts import Group, Parameter

from mien.cli.messages import NOTHING_WRITTEN
from mien.cli.signals import finish_before_stop
from mien.devices import Precision
from mien.drawing.blur_mode import BlurMode, check_blur
from mien.emotions import CorpusKind, DatasetKind
from mien.errors import AnnotationError, DatasetError, InputError, LayoutError
from mien.runtime import DEFAULT_MODEL, DETECTOR_SIZE, MIN_CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mien.datasets import Index
    from mien.inference.analyzer import Analyzer

ARGUMENTS = Group("Arguments", sort_key=1)
DATASET = Group("Data set", sort_key=2)
OPTIONS = Group("Options", sort_key=3)
ANALYSIS = Group("Analysis", sort_key=4)

OUTPUT_FOLDER = Parameter(name=["--output", "-o"], metavar="FOLDER")
OUTPUT_FILE = Parameter(name=["--output", "-o"], metavar="FILE")
"""Name of the option for the folder or file that a command writes."""

File = Parameter(metavar="FILE")
Folder = Parameter(metavar="FOLDER")
Number = Parameter(metavar="N")
Share = Parameter(metavar="SHARE")
"""Placeholders of values in the help."""

Json = Annotated[bool, Parameter(name="--json")]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], help="print no progress and no closing messages.")]
DetectEvery = Annotated[
    int | None,
    Parameter(
        metavar="N",
        help="detect and classify faces in every Nth frame and track them in between [default: every 0.09 s, or in "
        "every frame below 11 frames per second; live sources: less often where the machine does not keep up].",
    ),
]
Blur = Annotated[
    BlurMode | None,
    Parameter(
        help="hide everyone but the main face (others) or everybody (all) in what is written; not reversible. Faces "
        "that are not detected stay visible: see docs/responsible-use.md."
    ),
]
SplitName = Literal["train", "valid", "test"]
Data = Annotated[
    Path,
    Parameter(
        help="folder or .zip file; for --dataset table a .csv or .parquet file; for joined LAYOUT=PATH,LAYOUT=PATH."
    ),
]


def _analysis(text: str, metavar: str | None = None) -> Parameter:
    return Parameter(group=ANALYSIS, help=text, metavar=metavar)


def _layout(text: str) -> Parameter:
    return Parameter(help=f"{text}; see docs/data-sets.md [default: folder, table or joined, by the form of --data].")


Model = Annotated[
    str, _analysis("name of a shipped model (see mien models) or path of an .onnx file with its manifest.", "NAME")
]
FlipTta = Annotated[bool, _analysis("average the predictions for a face and its mirror image: more accurate, slower.")]
Threads = Annotated[
    int, _analysis("CPU threads per network; 0: automatic, one if several images are analyzed in parallel.", "N")
]
Prior = Annotated[
    str | None,
    _analysis(
        "class frequencies of your images: uniform, or a .json or .csv file; corrects probabilities and labels for "
        "them. See docs/class-priors.md.",
        "FILE",
    ),
]
Workers = Annotated[int, _analysis("images analyzed in parallel, each by one thread; 0: one per usable core.", "N")]
Device = Annotated[
    str,
    _analysis(
        "hardware that runs the networks: cpu, cuda, cuda:1, tensorrt, openvino, directml, migraphx or coreml; auto: a "
        "GPU if the installed ONNX Runtime can use one. See docs/devices.md.",
        "NAME",
    ),
]
Arithmetic = Annotated[
    Precision, _analysis("auto: int8 on CPUs on which it is faster, where the model has an int8 file.")
]


@Parameter(name="*", group=ANALYSIS)
@dataclass(frozen=True, kw_only=True)
class DetectionOptions:
    """Options of the model and the face detector."""

    model: Model = DEFAULT_MODEL
    threads: Threads = 0
    device: Device = "auto"
    precision: Arithmetic = "auto"
    min_confidence: Annotated[
        float, Parameter(metavar="SHARE", help="minimum confidence of the face detector, between 0 and 1.")
    ] = MIN_CONFIDENCE
    detector_size: Annotated[
        int,
        Parameter(
            metavar="PIXELS",
            help="long side in pixels of the face detector's input; 1280 finds smaller faces, more slowly.",
        ),
    ] = DETECTOR_SIZE

    def open_analyzer(self) -> Analyzer:
        """Load the networks.

        Raises:
            InputError: an option is out of its range.
            ModelError: the model is unknown or broken.
        """
        with finish_before_stop():
            from mien.inference.analyzer import Analyzer

            return Analyzer(**vars(self))


@Parameter(name="*", group=ANALYSIS)
@dataclass(frozen=True, kw_only=True)
class AnalyzerOptions(DetectionOptions):
    """All options of an analyzer.

    Attributes:
        max_faces: maximum number of faces per image, largest first [default: no limit].
        pose: estimate the head pose and straighten rotated faces (default); --no-pose is faster.
        action_units: estimate action units and gaze from the face mesh, see docs/action-units.md.
        max_error: give fewer labels, so that at most this share of them is wrong on validation faces (0.05: 5%)
            [default: the model's own threshold].
    """

    max_faces: Annotated[int | None, Number] = None
    pose: Annotated[bool, Parameter(negative="--no-pose")] = True
    action_units: bool = False
    flip_tta: FlipTta = False
    max_error: Annotated[float | None, Share] = None
    prior: Prior = None


DEFAULTS = AnalyzerOptions()
"""Default options of the commands that take all of them."""


@Parameter(name="*", group=DATASET)
@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """Location and layout of a data set of faces."""

    data: Data
    dataset: Annotated[DatasetKind | None, _layout("layout of the data set")] = None

    def read(self) -> Index:
        """Read the index of the data set.

        Raises:
            DatasetError: the data set cannot be used.
        """
        return _read_faces(self.data, self.dataset)


@Parameter(name="*", group=DATASET)
@dataclass(frozen=True, kw_only=True)
class _SplitOptions:
    """Location, layout and split of labeled data."""

    data: Data
    dataset: DatasetKind | CorpusKind | None = None
    split: Annotated[SplitName | None, Parameter(help="split to evaluate; required if the data set has several.")] = (
        None
    )
    without_duplicates: Annotated[
        bool, Parameter(help="leave out images that are exact duplicates of an image in another split.")
    ] = False

    def read_split(self, *, quiet: bool) -> Index:
        """Read the index of the selected split of faces, without duplicates of other splits if requested.

        Raises:
            InputError: the data set has several splits and none is selected.
            DatasetError: the data set cannot be used.
        """
        from mien.cli.progress import progress_bar
        from mien.datasets import without_duplicates

        index = _read_faces(self.data, self.dataset)
        split = self.split or _only_split(index)
        if not self.without_duplicates:
            return index.select(split)
        with progress_bar("finding duplicates", is_shown=not quiet, on_stop=NOTHING_WRITTEN) as progress:
            return without_duplicates(index, split, progress=progress)

    def describe(self, index: Index, *, flip_tta: bool) -> dict[str, str]:
        """Return the data set, split and test-time augmentation as a report shows them."""
        split = f"{index.split}, without duplicates" if self.without_duplicates else index.split
        return {"dataset": index.name, "split": split, "flip_tta": "on" if flip_tta else "off"}


@Parameter(name="*", group=DATASET)
@dataclass(frozen=True, kw_only=True)
class FaceEvaluationOptions(_SplitOptions):
    """Labeled faces for an evaluation."""

    dataset: Annotated[DatasetKind | None, _layout("layout of the data set")] = None


@Parameter(name="*", group=DATASET)
@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(_SplitOptions):
    """Labeled faces or voices for an evaluation.

    Attributes:
        speaker_independent: for speech corpora: predict every speaker by heads that are fitted to the other speakers.
    """

    dataset: Annotated[DatasetKind | CorpusKind | None, _layout("layout of the data set or speech corpus")] = None
    speaker_independent: bool = False

    @property
    def corpus(self) -> CorpusKind | None:
        """The layout if it is that of a speech corpus."""
        return cast("CorpusKind", self.dataset) if self.dataset in get_args(CorpusKind) else None


def check_effective(options: Mapping[str, object], case: str) -> None:
    """Raise `InputError` if an option is given that has no effect in this case.

    Args:
        options: for each name whether it is given.
        case: when it has no effect: "without --data".
    """
    if names := [name for name, is_given in options.items() if is_given]:
        raise InputError(f"{', '.join(names)}: no effect {case}; leave out the option.")


def check_blur_options(blur: BlurMode | None, output: Path | None, options: AnalyzerOptions) -> None:
    """Raise `InputError` if faces are to be hidden and nothing is written, or not all of them are detected."""
    if blur is not None and output is None:
        raise InputError("--blur needs the --output folder of the annotated copies.")
    check_blur(blur, options.max_faces)


def network_threads(threads: int, workers: int) -> int:
    """Return the number of threads of every network: one by default if several workers share the cores."""
    return threads or int(workers > 1)


def _read_faces(path: Path, kind: str | None) -> Index:
    """Read the index of a data set of faces, of a guessed kind by default.

    Raises:
        DatasetError: the data set cannot be used; names --dataset if the guess can be wrong.
    """
    from mien.datasets import ADAPTERS, guess_kind, read_dataset

    if kind is not None:
        return read_dataset(kind, path)
    try:
        return read_dataset(guess_kind(path), path)
    except DatasetError as error:
        is_layout = isinstance(error, LayoutError) or (isinstance(error, AnnotationError) and error.line == 1)
        if not is_layout or not path.exists():
            raise
        others = [name for name in ADAPTERS if name not in ("folder", "table", "joined")]
        raise DatasetError(f"{error} Other layouts of faces need --dataset: {', '.join(others)}.") from error


def _only_split(index: Index) -> str:
    """Return the name of the only split; any name if the data set has no splits."""
    from mien.datasets import SPLITS

    present = {sample.split for sample in index.samples}
    splits = [split for split in SPLITS if split in present]
    if len(splits) > 1:
        raise InputError(f"--split is missing: {index.root} has {', '.join(splits)}.")
    return splits[0] if splits else SPLITS[0]
