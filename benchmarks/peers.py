"""Compare mien with other packages that detect faces and predict expressions: CPU time and accuracy in one run.

python benchmarks/peers.py --env human=FOLDER --env fer=FOLDER ... [--data FOLDER|ZIP] [--rounds 20] [--markdown]

Each package is installed by the user in an environment of its own (docs/performance.md has the commands); packages
without `--env`, and those whose weights cannot be loaded, are left out. Every variant is a process with one thread on
one core. The processes take turns on 640x480 images with one face; the CPU time of the process from decoded pixels to
the label counts, as a median. `--data` has labels.csv (image,label) and images with one main face each: seven classes
(images labeled contempt are skipped), the largest face counts, and an image without a face counts as wrong. Every
labeled image gets a gray border, because some detectors miss faces that fill an image.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

ROOT = Path(__file__).parents[1]
RUNNERS = Path(__file__).parent / "peer_runners"
EXAMPLES = ("astronaut.jpg", "biden.jpg", "obama.jpg")
WIDTH, HEIGHT = 640, 480
WARM_UP_ROUNDS = 5
"""Rounds that do not count: compilers and caches of the packages."""
BORDER = 0.5
"""Gray border around labeled images, as a share of their long side: some detectors miss faces that fill an image."""
CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
SYNONYMS = {"angry": "anger", "disgusted": "disgust", "fearful": "fear", "happy": "happiness", "sad": "sadness"}
SYNONYMS |= {"surprised": "surprise"}
ONE_THREAD = dict.fromkeys(
    (
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
        *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    ),
    "1",
)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a variant does: fit landmarks or a mesh, and predict one face of an image or all."""

    has_mesh: bool = False
    is_single: bool = False

    def variant_of(self, model: str) -> str:
        """Return the variant of mien that does the same with a model."""
        return f"{model}{'' if self.has_mesh else ' without pose'}{', one face' if self.is_single else ''}"


@dataclass(frozen=True)
class Peer:
    """A package: the runner in `RUNNERS`, and its variants."""

    runner: str
    variants: dict[str, Work]


MODELS = ("expression", "mobile")
WORKS = [Work(has_mesh=has_mesh, is_single=is_single) for has_mesh in (True, False) for is_single in (False, True)]
PEERS = {
    "mien": Peer("run_mien.py", {work.variant_of(model): work for work in WORKS for model in MODELS}),
    "human": Peer(
        "run_human.mjs", {"with mesh": Work(has_mesh=True, is_single=True), "without mesh": Work(is_single=True)}
    ),
    "face-api": Peer(
        "run_faceapi.mjs",
        {
            "tiny with landmarks": Work(has_mesh=True, is_single=True),
            "tiny": Work(is_single=True),
            "SSD": Work(is_single=True),
        },
    ),
    "fer": Peer("run_fer.py", {"Haar cascade": Work(), "MTCNN": Work()}),
    "deepface": Peer("run_deepface.py", {"opencv": Work()}),
    "emotiefflib": Peer("run_emotiefflib.py", {"enet_b0_8_best_vgaf": Work()}),
    "py-feat": Peer("run_pyfeat.py", {"resmasknet": Work(has_mesh=True)}),
}


@dataclass
class Worker:
    """A variant of a package in a process of its own."""

    package: str
    variant: str
    work: Work
    process: subprocess.Popen[str]
    version: str = ""
    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)

    def receive(self) -> dict[str, Any] | None:
        """Return the next answer; None when the process ended."""
        line = self.process.stdout.readline() if self.process.stdout else ""
        return json.loads(line) if line else None

    def predict(self, path: Path) -> dict[str, Any]:
        """Return label and seconds of an image."""
        assert self.process.stdin is not None
        print(path, file=self.process.stdin, flush=True)
        answer = self.receive()
        if answer is None:
            raise SystemExit(f"{self.package}, {self.variant}: the runner ended on {path}; --log shows its messages.")
        return answer


def command(package: str, environment: Path | None) -> list[str]:
    """Return the command of a runner; the variant and the environment's folder follow."""
    runner = str(RUNNERS / PEERS[package].runner)
    if runner.endswith(".mjs"):
        return ["node", runner]
    return [str(environment / "bin" / "python") if environment else sys.executable, runner]


@contextmanager
def start(package: str, variant: str, environment: Path | None, log: Path) -> Iterator[Worker | None]:
    """Start a runner and wait until its networks are loaded; None when they cannot be."""

    def use_one_core() -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    with (
        log.open("a", encoding="utf-8") as messages,
        subprocess.Popen(
            [*command(package, environment), variant, str(environment)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
            env=os.environ | ONE_THREAD,
            preexec_fn=use_one_core,
        ) as process,
    ):
        worker = Worker(package, variant, PEERS[package].variants[variant], process)
        ready = worker.receive()
        if ready is None:
            print(f"{package}, {variant}: left out, it does not start; its messages are in {log}", file=sys.stderr)
        worker.version = ready["version"] if ready else ""
        try:
            yield worker if ready else None
        finally:
            process.kill()


def portraits(folder: Path) -> list[Path]:
    """Write 640x480 images with one face, cut from the examples; lossless, so that all packages get equal pixels."""
    paths = []
    for name in EXAMPLES:
        with Image.open(ROOT / "examples" / name) as opened:
            height = round(opened.height * WIDTH / opened.width)
            image = opened.convert("RGB").resize((WIDTH, height)).crop((0, 0, WIDTH, HEIGHT))
        paths.append(folder / name.replace(".jpg", ".png"))
        image.save(paths[-1])
    return paths


def measure_speed(workers: list[Worker], images: list[Path], rounds: int) -> None:
    """Let the workers take turns; each round, every worker gets every image."""
    for number in range(rounds + WARM_UP_ROUNDS):
        for worker in workers:
            for image in images:
                answer = worker.predict(image)
                if number >= WARM_UP_ROUNDS:
                    worker.cpu_s.append(answer["cpu_s"])
                    worker.wall_s.append(answer["wall_s"])


def read_labels(data: Path, folder: Path, sample: int | None = None) -> tuple[list[Path], list[str]]:
    """Return images and labels of the seven classes, or a random sample; a ZIP archive is unpacked into `folder`."""
    if data.suffix == ".zip":
        with zipfile.ZipFile(data) as archive:
            archive.extractall(folder)
        data = folder
    with (data / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in CLASSES]
    random.Random(0).shuffle(rows)
    rows = rows[:sample]
    return [data / row["image"] for row in rows], [row["label"] for row in rows]


def measure_accuracy(workers: list[Worker], images: list[Path], folder: Path, border: float = BORDER) -> None:
    """Predict the label of every image, with a border, with every worker."""
    path = folder / "bordered.png"
    for number, image in enumerate(images):
        if number % 100 == 0:
            print(f"{number} of {len(images)} labeled images", file=sys.stderr)
        with Image.open(image) as opened:
            pixels = opened.convert("RGB")
        ImageOps.expand(pixels, round(border * max(pixels.size)), (128, 128, 128)).save(path, compress_level=1)
        for worker in workers:
            label = worker.predict(path)["label"]
            worker.labels.append(None if label is None else SYNONYMS.get(label.lower(), label.lower()))


def scores(predictions: list[str | None], labels: list[str]) -> dict[str, float]:
    """Return accuracy, mean recall over the classes, and the share of images with a face."""
    correct = [prediction == label for prediction, label in zip(predictions, labels, strict=True)]
    recalls = [
        statistics.mean(is_correct for is_correct, label in zip(correct, labels, strict=True) if label == name)
        for name in set(labels)
    ]
    return {
        "accuracy": statistics.mean(correct),
        "mean_recall": statistics.mean(recalls),
        "faces_found": statistics.mean(prediction is not None for prediction in predictions),
    }


def report(workers: list[Worker], labels: list[str]) -> dict[str, Any]:
    """Return the results of all workers; ratios are to mien's models doing the same work."""
    medians = {(worker.package, worker.variant): statistics.median(worker.cpu_s) for worker in workers}
    rows = []
    for worker in workers:
        cpu_s = medians[worker.package, worker.variant]
        row = {
            "package": worker.package,
            "version": worker.version,
            "variant": worker.variant,
            "has_mesh": worker.work.has_mesh,
            "is_single": worker.work.is_single,
            "cpu_ms": 1000 * cpu_s,
            "cpu_share": sum(worker.cpu_s) / sum(worker.wall_s),
        }
        for model in MODELS:
            row[model] = cpu_s / medians["mien", worker.work.variant_of(model)]
        rows.append(row | (scores(worker.labels, labels) if labels else {}))
    rows.sort(key=lambda row: row["cpu_ms"])
    return {"cpu": cpu_name(), "rounds": len(workers[0].cpu_s) // len(EXAMPLES), "images": len(labels), "rows": rows}


def format_table(rows: list[list[str]], *, markdown: bool) -> str:
    """Return rows as a table; the first one is its header."""
    if markdown:
        rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, cells, widths)) for cells in rows)


def cpu_name() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def show(results: dict[str, Any], *, markdown: bool) -> None:
    """Print a table of CPU times, and one of accuracy if it was measured."""
    speed = [["package", "variant", "faces", "CPU ms", "x `expression`", "x `mobile`"]]
    accuracy = [["package", "variant", "accuracy", "mean recall", "faces found"]]
    for row in results["rows"]:
        name = [f"{row['package']} {row['version']}", row["variant"]]
        faces = "one" if row["is_single"] else "all"
        speed.append([*name, faces, f"{row['cpu_ms']:.1f}", f"{row['expression']:.1f}", f"{row['mobile']:.1f}"])
        if results["images"]:
            accuracy.append([*name, *(f"{row[key]:.1%}" for key in ("accuracy", "mean_recall", "faces_found"))])
    print(f"{WIDTH}x{HEIGHT}, one face, one thread of {results['cpu']}; {results['rounds']} rounds of 3 images\n")
    print(format_table(speed, markdown=markdown))
    if results["images"]:
        print(f"\n{results['images']} labeled images\n")
        print(format_table(accuracy, markdown=markdown))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", action="append", default=[], metavar="PACKAGE=FOLDER", help=", ".join(PEERS))
    parser.add_argument("--data", type=Path, help="folder or ZIP archive with labels.csv and images")
    parser.add_argument("--sample", type=int, help="number of labeled images, drawn at random; default: all")
    parser.add_argument("--border", type=float, default=BORDER, help="border of labeled images / their long side")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--log", type=Path, default=Path(tempfile.gettempdir(), "peers.log"))
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    environments: dict[str, Path | None] = {"mien": None}
    for argument in options.env:
        package, _, folder = argument.partition("=")
        if package not in PEERS or not Path(folder).is_dir():
            parser.error(f"--env {argument}: expected PACKAGE=FOLDER with a package of {', '.join(PEERS)}")
        environments[package] = Path(folder).resolve()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = [
            worker
            for package, environment in environments.items()
            for variant in PEERS[package].variants
            if (worker := stack.enter_context(start(package, variant, environment, options.log)))
        ]
        measure_speed(workers, portraits(folder), options.rounds)
        images, labels = read_labels(options.data, folder, options.sample) if options.data else ([], [])
        measure_accuracy(workers, images, folder, options.border)
        results = report(workers, labels)
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        show(results, markdown=options.markdown)


if __name__ == "__main__":
    main()
