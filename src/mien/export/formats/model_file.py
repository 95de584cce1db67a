"""Conversion of an expression model to another format, with a manifest that states its parity."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from mien.errors import InputError
from mien.export.face_crops import FaceCrops
from mien.export.format_spec import Format, FormatPrecision
from mien.export.formats.conversion import can_run, convert, open_runner
from mien.export.formats.onnx_format import to_float16
from mien.export.formats.parity import FormatParity, measure_parity
from mien.export.quantize import quantize_graph
from mien.export.torch_graph import load_graph
from mien.export.weights import read_graph, store_weights
from mien.manifest import Manifest, file_sha256, read_manifest, write_manifest

INPUTS = ("images",)
OUTPUTS = ("logits",)


@dataclass(frozen=True, kw_only=True)
class ModelConversion:
    """Conversion of an expression model.

    The file takes one face `images` (1, 3, S, S) float32 RGB 0..255 and returns `logits` (1, C). An ONNX file keeps the
    free batch size and all outputs.

    Attributes:
        original: .onnx file that computes in float32, with its manifest.
        output: file to write.
        format: key of `FORMATS`.
        precision: a precision of the format.
        calibration: training faces that give the ranges of feature maps for int8.
    """

    original: Path
    output: Path
    format: Format
    precision: FormatPrecision
    calibration: FaceCrops | None = None

    def write(self) -> None:
        """Write the file, without a manifest.

        Raises:
            MissingExtraError: if the packages of the format are not installed.
            InputError: if the format does not have the precision, or int8 has no calibration faces.
            ModelError: if the model cannot be converted.
        """
        if self.format == "onnx":
            self.output.write_bytes(self._onnx_graph())
            return
        size = read_manifest(self.original).input.size
        batches = self.calibration.batches() if self.calibration else []
        convert(
            load_graph(self.original, *OUTPUTS),
            (torch.zeros(1, 3, size, size),),
            self.output,
            format=self.format,
            precision=self.precision,
            input_names=INPUTS,
            output_names=OUTPUTS,
            calibration=[(torch.from_numpy(batch),) for batch in batches],
        )

    def _onnx_graph(self) -> bytes:
        graph = self.original.read_bytes()
        if self.precision == "float32":
            return store_weights(graph, "float32")
        if self.precision == "float16":
            return to_float16(read_graph(graph)).SerializeToString()
        if self.calibration is None:
            raise InputError("int8 needs calibration faces, which give the ranges of feature maps.")
        return quantize_graph(graph, self.calibration.crops)[0]

    def measure(self, faces: FaceCrops) -> FormatParity | None:
        """Compare the file, in its own runtime, with the original; None if the runtime is not available here."""
        if not can_run(self.format):
            return None
        runner = open_runner(self.output, format=self.format, input_names=INPUTS, output_names=OUTPUTS)
        return measure_parity(self.original, runner, faces)

    def write_manifest(self, parity: FormatParity | None) -> Manifest:
        """Write the manifest of the file: that of the original, with format and parity in `source`."""
        manifest = read_manifest(self.original)
        source: dict[str, object] = {
            **{key: value for key, value in manifest.source.items() if key != "weights"},
            "format": self.format,
            "precision": self.precision,
            # `mien export` converts a temporary copy with float32 weights, whose manifest names its original
            "original_sha256": manifest.source.get("original_sha256", manifest.sha256),
            "parity": asdict(parity) if parity else "not measured: the format cannot run on this system",
        }
        if self.calibration:
            source["quantization"] = f"int8, ranges from {self.calibration.origin}"
        name = self.output.name.removesuffix(self.output.suffix)
        converted = replace(manifest, name=name, sha256=content_sha256(self.output), source=source)
        write_manifest(converted, self.output)
        return converted


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of the files of a folder in order of their names."""
    if path.is_file():
        return file_sha256(path)
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(file.relative_to(path).as_posix().encode() + b"\0" + bytes.fromhex(file_sha256(file)))
    return digest.hexdigest()
