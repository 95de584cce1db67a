"""Folder adapter: one folder per class, `<root>/{train,valid,test}/<class>/*.jpg` or `<root>/<class>/*.jpg`."""

from __future__ import annotations

from pathlib import Path

from mien.datasets.files import dataset_path, open_files
from mien.datasets.index import ANY_SPLIT, SPLIT_NAMES, Index, Sample, own_title, unique_labels
from mien.emotions import EXPRESSIONS, canonical_name
from mien.errors import LayoutError
from mien.manifest import UNSTATED_LICENSE
from mien.media_formats import IMAGE_SUFFIXES, UNREADABLE_SUFFIXES

LAYOUT = f"images in folders named {', '.join(EXPRESSIONS)}, optionally below train, valid and test"


def read_folder(path: str | Path, *, is_cropped: bool = True) -> Index:
    """Read a data set with one folder per class.

    Without folders for the splits, every image belongs to every split. Classes may be spelled in any way that
    `mien.emotions.canonical_name` knows ("Happy", "sad"), and the split "valid" also "val" or "validation". Files
    without an image suffix are skipped, and so are images beside the class folders. Images in a format that is not
    read (raw, HEIC, SVG ...) count as unreadable.

    Args:
        path: folder or zip archive; the class folders may be below other folders.
        is_cropped: whether each image is a face crop; otherwise a photograph.

    Raises:
        LayoutError: there are no images, or a folder is not a class.
    """
    path = dataset_path(path)
    files = open_files(path)
    names = [name for name in files.names() if name.lower().endswith(IMAGE_SUFFIXES + UNREADABLE_SUFFIXES)]
    if not names:
        raise LayoutError(path, f"{LAYOUT}; there are no images")
    root = path
    while (top := _top_folder(names)) is not None:
        files = files.subfolder(top)
        root /= top
        names = [name.removeprefix(f"{top}/") for name in names if name.startswith(f"{top}/")]
    names = [name for name in names if "/" in name] or names
    annotated = [(name, *_split_and_class(root, name)) for name in names]
    labels = unique_labels(expression for _, _, expression in annotated)
    return Index(
        name="folder",
        root=path,
        labels=labels,
        samples=tuple(Sample(id=name, split=split).with_label(label, labels) for name, split, label in annotated),
        license=UNSTATED_LICENSE,
        title=own_title("folder", path),
        is_cropped=is_cropped,
        source=files,
    )


def _top_folder(names: list[str]) -> str | None:
    """Return the only folder beside stray images, unless it is a class, a split, or has no subfolders."""
    tops = {name.split("/", 1)[0] for name in names if "/" in name}
    if len(tops) != 1:
        return None
    [top] = tops
    is_known = top.strip().lower() in SPLIT_NAMES or canonical_name(top) is not None
    return None if is_known or not any(name.count("/") > 1 for name in names) else top


def _split_and_class(root: Path, name: str) -> tuple[str, str]:
    *folders, _ = name.split("/")
    split = SPLIT_NAMES.get(folders[0].strip().lower()) if folders else None
    depth = 0 if split is None else 1
    if len(folders) == depth:
        raise LayoutError(root / name, LAYOUT)
    expression = canonical_name(folders[depth])
    if expression is None:
        raise LayoutError(root / "/".join(folders[: depth + 1]), LAYOUT)
    return split or ANY_SPLIT, expression
