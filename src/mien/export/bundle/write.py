"""Writing of a phone bundle: graphs, contract, golden tests, manifests and licenses in one folder."""

import json
import shutil
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from mien.atomic import write_atomic
from mien.errors import InputError, ModelError
from mien.export.bundle.check import check_bundle
from mien.export.bundle.contract import GOLDEN_RULE, build_contract, describe_graph
from mien.export.bundle.golden import draw_images, expected_results, tolerances
from mien.export.formats import FORMATS, Format, check_packages, convert
from mien.export.pipeline.graph import PipelineGraph, export_onnx
from mien.export.pipeline.network import OnnxNetwork
from mien.export.pipeline.phone import build_pipelines
from mien.export.torch_graph import TorchGraph, load_graph
from mien.faces import LandmarkMesh
from mien.inference.analyzer import Analyzer
from mien.manifest import manifest_path, read_manifest
from mien.runtime import find_model

CONTRACT = "contract.json"
"""File that marks a folder as a phone bundle."""
BUNDLE_FORMATS: tuple[Format, ...] = ("onnx", "litert", "executorch")
"""Formats of the graphs; Core ML runs on macOS only, so that its graphs cannot be tested elsewhere."""
_BUNDLE_FILES = (
    CONTRACT,
    *(f"{graph}{FORMATS[name].suffix}" for graph in ("detector", "expression", "mesh") for name in BUNDLE_FORMATS),
    "golden/golden.json",
    "golden/*.rgb",
    "manifests/*.json",
    ".DS_Store",
    "*/.DS_Store",
)
"""Patterns of the files of a bundle other than licenses, and of one that macOS leaves in folders."""
CANVAS_STEP = 32
"""The side of the canvas is a multiple of it, in pixels."""
CANVAS_SIDES = (320, 2048)
"""Minimum and maximum side of the canvas in pixels; Pillow resizes larger images in other steps."""


def write_bundle(
    model: str | Path, folder: Path, *, canvas: int = 640, mesh: bool = False, format: Format = "onnx"
) -> dict[str, Any]:
    """Write a phone bundle and return its contract; an existing bundle is replaced once the new one is complete.

    ONNX graphs have dynamic shapes inside and the networks' stored weights; those of other formats have static shapes
    and compute and store float32.

    Args:
        model: name of a shipped expression model, or its .onnx file, which computes in float32.
        folder: folder to write.
        canvas: maximum side of an image in pixels, a multiple of 32.
        mesh: include the face mesh and the head pose.
        format: format of the graphs, one of `BUNDLE_FORMATS`.

    Raises:
        InputError: if the format has no bundles, the canvas is out of range, or the folder contains something else than
            a bundle.
        MissingExtraError: if the packages of the format are not installed.
        ModelError: if the model is unknown, broken or does not compute in float32.
        ParityError: if the graphs differ from the Python pipeline on the golden images.
    """
    if format not in BUNDLE_FORMATS:
        raise InputError(f"format is {format!r}; expected one of {', '.join(BUNDLE_FORMATS)} for a phone bundle.")
    if canvas % CANVAS_STEP or not CANVAS_SIDES[0] <= canvas <= CANVAS_SIDES[1]:
        low, high = CANVAS_SIDES
        raise InputError(f"canvas is {canvas}; expected a multiple of {CANVAS_STEP} from {low} to {high}.")
    check_folder(folder)
    # "." has no name and no parent
    folder = folder.resolve()
    check_packages(format)
    path = find_model(model)
    manifest = read_manifest(path)
    if manifest.task != "expression":
        raise ModelError(f"{path} is a model for {manifest.task}; expected an expression model.")
    is_onnx = format == "onnx"
    load = OnnxNetwork if is_onnx else _load_torch
    pipelines = build_pipelines(path, manifest, load, canvas=canvas, mesh=mesh, has_dynamic_shapes=is_onnx)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".mien-", dir=folder.parent) as temporary:
        draft = Path(temporary) / folder.name
        (draft / "golden").mkdir(parents=True)
        graphs = {name: _write_graph(pipeline, draft, name, format) for name, pipeline in pipelines.items()}
        contract = build_contract(manifest, format, canvas, graphs)
        _write_json(draft / CONTRACT, contract)
        _write_golden(draft / "golden", Analyzer(path, pose=mesh, precision="float32"), canvas, mesh=mesh)
        _write_papers(draft, path, mesh=mesh)
        check_bundle(draft)
        _replace(folder, draft, Path(temporary) / "old")
    return contract


def check_folder(folder: Path) -> None:
    """Raise `InputError` unless a folder is new, empty, or contains a bundle and nothing else."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.is_file():
        raise InputError(f"{folder} is a file; expected a folder.")
    if not _has_contract(folder):
        if folder.exists() or folder.is_symlink():
            raise InputError(
                f"{folder} contains other files and no {CONTRACT} of a bundle; choose a new or empty folder."
            )
        return
    if others := _foreign_files(folder):
        names = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise InputError(
            f"{folder} contains files that are not of the bundle and would be deleted: {names}; move them, or choose a "
            "new or empty folder."
        )


def _has_contract(folder: Path) -> bool:
    """Return whether a folder has the contract of a bundle."""
    try:
        record = json.loads((folder / CONTRACT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and {"schema", "mien", "graphs"} <= record.keys()


def _foreign_files(folder: Path) -> list[str]:
    """Return the sorted paths in a folder, relative to it, that `write_bundle` does not write."""
    patterns = (*_BUNDLE_FILES, *(f"licenses/{path.name}" for path in _license_files()))
    files = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = (path.relative_to(folder).as_posix() for path in files)
    return sorted(
        name for name in names if not any(PurePosixPath("/", name).match(f"/{pattern}") for pattern in patterns)
    )


def _load_torch(model: Path, output_names: tuple[str, ...]) -> TorchGraph:
    return load_graph(model, *output_names)


def _write_graph(pipeline: PipelineGraph, folder: Path, name: str, format: Format) -> dict[str, Any]:
    """Write the file of a graph and return its entry of the contract."""
    path = folder / f"{name}{FORMATS[format].suffix}"
    if format == "onnx":
        write_atomic(path, export_onnx(pipeline))
    else:
        inputs, examples = tuple(pipeline.inputs), tuple(pipeline.inputs.values())
        convert(pipeline.module, examples, path, format=format, input_names=inputs, output_names=pipeline.outputs)
    return describe_graph(pipeline, path)


def _write_golden(folder: Path, analyzer: Analyzer, canvas: int, *, mesh: bool) -> None:
    images = draw_images(canvas)
    for image in images:
        write_atomic(folder / f"{image.name}.rgb", image.pixels.tobytes())
    cases = expected_results(images, analyzer, LandmarkMesh() if mesh else None)
    _write_json(folder / "golden.json", {"rule": GOLDEN_RULE, "tolerances": tolerances(mesh=mesh), "cases": cases})


def _write_papers(folder: Path, model: Path, *, mesh: bool) -> None:
    """Write the manifests of the networks and the license texts of the package."""
    names = ["face-detector", *(["face-landmarks"] if mesh else [])]
    (folder / "manifests").mkdir()
    for path in (model, *map(find_model, names)):
        shutil.copyfile(manifest_path(path), folder / "manifests" / f"{path.stem}.json")
    (folder / "licenses").mkdir()
    for path in _license_files():
        shutil.copyfile(path, folder / "licenses" / path.name)


def _license_files() -> list[Path]:
    """Return the license files of the installed package.

    Raises:
        InputError: if mien is not installed as a package.
    """
    try:
        listed = files("mien") or []
    except PackageNotFoundError:
        listed = []
    paths = [Path(str(path.locate())) for path in listed if ".dist-info/licenses/" in path.as_posix()]
    if not paths:
        raise InputError("the license files of mien are missing; install it as a package: pip install 'mien[train]'.")
    return paths


def _write_json(path: Path, record: dict[str, Any]) -> None:
    write_atomic(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _replace(folder: Path, draft: Path, old: Path) -> None:
    """Move the files of a complete draft to its place; earlier ones are removed with the temporary folder.

    An existing folder remains the same, because it may be the working directory.
    """
    old.mkdir()
    folder.mkdir(exist_ok=True)
    for source, target in ((folder, old), (draft, folder)):
        for path in list(source.iterdir()):
            path.replace(target / path.name)
