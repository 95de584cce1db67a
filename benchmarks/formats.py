"""Convert models to the formats of other runtimes and compare size, labels, probabilities and time.

python benchmarks/formats.py ferplus.zip [--models mobile,expression] [--formats onnx,litert] [--faces 500]

Labels and probabilities are compared with the float32 .onnx file on FER+ validation faces. Feature maps of int8 files
have their ranges from training faces. Times are medians of the processor time of one face on one thread. Formats whose
packages are not installed are left out with a line that names the extra.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from mien.datasets import read_dataset
from mien.errors import MienError, ParityError
from mien.export.face_crops import FaceCrops, draw_faces
from mien.export.formats import FORMATS, check_packages
from mien.export.formats.model_file import ModelConversion
from mien.export.formats.parity import check_parity
from mien.runtime import find_model

CALIBRATION_FACES = 600


def rows(model: str, formats: list[str], folder: Path, training: FaceCrops, validation: FaceCrops) -> Iterator[str]:
    """Convert a model to every format and precision, and yield one row of the table each."""
    for name in formats:
        for precision in FORMATS[name].precisions:
            path = folder / f"{model}.{precision}{FORMATS[name].suffix}"
            conversion = ModelConversion(
                original=find_model(model),
                output=path,
                format=name,
                precision=precision,
                calibration=training if precision == "int8" else None,
            )
            try:
                conversion.write()
                parity = conversion.measure(validation)
            except MienError as error:
                yield f"| {model} | {name} | {precision} | {error} | | | |"
                continue
            size = sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file()) / 1e6
            if parity is None:
                yield f"| {model} | {name} | {precision} | {size:.2f} | cannot run here | | |"
                continue
            try:
                check_parity(parity, precision)
                verdict = ""
            except ParityError:
                verdict = " (refused)"
            yield (
                f"| {model} | {name} | {precision} | {size:.2f} | {parity.agreement:.2%}{verdict} | "
                f"{parity.max_difference:.2g} | {parity.milliseconds:.2f} |"
            )


def installed(names: list[str]) -> list[str]:
    """Return the formats whose packages are installed; print the others."""
    available = []
    for name in names:
        try:
            check_packages(name)
        except MienError as error:
            print(error)
        else:
            available.append(name)
    return available


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="FER+, a folder or a zip archive")
    parser.add_argument("--models", default="mobile,expression")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--faces", type=int, default=500, help="validation faces to compare")
    parser.add_argument("--output", type=Path, help="folder for the files, which are deleted by default")
    arguments = parser.parse_args()
    formats = installed(arguments.formats.split(","))
    index = read_dataset("ferplus", arguments.data)
    print("| model | format | precision | MB | same label | largest difference | ms |")
    print("|---|---|---|---|---|---|---|")
    with TemporaryDirectory() as temporary:
        folder = arguments.output or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for model in arguments.models.split(","):
            training = draw_faces(find_model(model), index.select("train"), CALIBRATION_FACES)
            validation = draw_faces(find_model(model), index.select("valid"), arguments.faces)
            for row in rows(model, formats, folder, training, validation):
                print(row, flush=True)


if __name__ == "__main__":
    main()
