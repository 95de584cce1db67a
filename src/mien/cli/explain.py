"""`mien explain`: class-activation maps of the faces in an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.cli.messages import NOTHING_WRITTEN, print_overwriting, print_written, printable
from mien.cli.options import OUTPUT_FILE, DetectionOptions, Json
from mien.cli.progress import progress_bar
from mien.number_format import whole_percent

if TYPE_CHECKING:
    from mien.results import ExplainedFace


def explain(
    image: Path,
    /,
    *,
    output: Annotated[Path | None, OUTPUT_FILE] = None,
    label: Annotated[str | None, Parameter(metavar="CLASS")] = None,
    as_json: Json = False,
    options: DetectionOptions = DetectionOptions(),  # noqa: B008 - it is frozen
) -> None:
    """Draw which parts of a face a prediction is based on.

    Each face is shown with its class-activation map (bright parts support the class; the maps of all classes of a face
    have one scale), its probabilities, and by how much the probability drops when a region of the face is hidden. This
    shows what the network used, not why a person feels anything.

    Exit code: 0, also if there is no face; 2 if the image cannot be read.

    Args:
        image: image file.
        output: image to write [default: NAME-explained.png in the current folder; none with --json].
        label: class to explain [default: the most probable class of each face].
        as_json: print the expressions, maps and drops as one JSON object.
    """
    from mien.cli.outputs import check_image_path, print_json, save_image
    from mien.drawing.explanation import draw_explanations
    from mien.inference.explain import explain as explain_image
    from mien.inference.occlusion import face_regions

    if output is None and not as_json:
        output = Path(f"{image.stem}-explained.png")
    if output is not None:
        check_image_path(output, source=image)
    with progress_bar("explaining", is_shown=False, on_stop=NOTHING_WRITTEN):
        analyzer = options.open_analyzer()
        faces = explain_image(image, analyzer=analyzer, label=label)
    if as_json:
        print_json({"image": str(image), "faces": [face.to_dict() for face in faces]})
    elif not faces:
        print(printable(f"{image}: no face found"))
    else:
        for number, face in enumerate(faces, start=1):
            print(f"face {number}: {_describe(face)}")
    alignment = analyzer.manifest.alignment
    if output is not None and faces and alignment is not None:
        print_overwriting(output)
        save_image(draw_explanations(faces, face_regions(alignment.margin)), output)
        print_written(output)


def _describe(face: ExplainedFace) -> str:
    expression = face.explanation.expression
    label = f"{expression.label or 'not sure'} {whole_percent(expression.confidence)}"
    index = expression.labels.index(face.label)
    hidden = (f"{name} {whole_percent(float(values[index]))}" for name, values in face.explanation.hidden.items())
    return f"{label}; {face.label} with a hidden region: {', '.join(hidden)}"
