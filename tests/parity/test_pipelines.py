"""The pipelines for phones find the faces and predict the probabilities of the Python pipeline."""

import numpy as np
import pytest
import torch

from mien import Analyzer
from mien.export.pipeline.graph import export_onnx
from mien.export.pipeline.network import OnnxNetwork
from mien.export.pipeline.phone import build_pipelines
from mien.export.torch_graph import load_graph
from mien.faces.landmarks import LandmarkMesh, MeshOptions
from mien.faces.pose import head_pose
from mien.imaging import read_image
from mien.manifest import read_manifest
from mien.runtime import find_model, open_session
from support.images import EXAMPLES

MODEL = "mobile"
CANVAS = 1280


def build(canvas, *, has_dynamic_shapes, mesh=False):
    path = find_model(MODEL)
    load = OnnxNetwork if has_dynamic_shapes else lambda model, outputs: load_graph(model, *outputs)
    return build_pipelines(
        path, read_manifest(path), load, canvas=canvas, mesh=mesh, has_dynamic_shapes=has_dynamic_shapes
    )


@pytest.fixture(scope="module")
def graphs():
    pipelines = build(CANVAS, has_dynamic_shapes=True, mesh=True)
    return {name: export_onnx(pipeline) for name, pipeline in pipelines.items()}


@pytest.fixture(scope="module")
def sessions(graphs):
    return {name: open_session(graph, device="cpu") for name, graph in graphs.items()}


@pytest.fixture(scope="module")
def analyzer():
    return Analyzer(MODEL, pose=False, precision="float32")


def on_canvas(image, canvas=CANVAS):
    height, width = image.shape[:2]
    # what lies outside of the image must not matter
    pixels = np.full((canvas, canvas, 3), 200, dtype=np.uint8)
    pixels[:height, :width] = image
    return {"image": pixels, "size": np.array([height, width], dtype=np.int32)}


@pytest.mark.parametrize("name", ["astronaut", "biden", "obama", "group"])
def test_onnx_pipelines_have_the_results_of_python(name, sessions, analyzer):
    image = read_image(EXAMPLES / f"{name}.jpg")
    faces = analyzer.analyze(image).faces
    canvas = on_canvas(image)
    boxes, landmarks, scores, count = sessions["detector"].run(None, canvas)
    assert count == len(faces) > 0
    assert not boxes[len(faces) :].any()
    for index, face in enumerate(faces):
        np.testing.assert_allclose(boxes[index], face.bbox_xyxy, atol=0.5)
        np.testing.assert_allclose(landmarks[index], face.landmarks_xy, atol=0.5)
        assert scores[index] == pytest.approx(face.confidence, abs=0.005)
        probabilities, label, sharpness = sessions["expression"].run(
            None, {**canvas, "box": boxes[index], "landmarks": landmarks[index]}
        )
        expression = face.expression
        np.testing.assert_allclose(probabilities, expression.probabilities, atol=0.005)
        assert sharpness == pytest.approx(face.quality.sharpness, abs=0.005)
        assert label == (-1 if expression.label is None else expression.labels.index(expression.label))


@pytest.mark.parametrize(("name", "shape"), [("group", None), ("astronaut", None), ("astronaut", (211, 190))])
def test_static_shapes_find_the_same_faces(name, shape, analyzer):
    image = read_image(EXAMPLES / f"{name}.jpg")
    if shape:
        # the face reaches the edges, and an image as small as this has the coarse scan only
        image = image[50 : 50 + shape[0], 150 : 150 + shape[1]]
    detector = build(CANVAS, has_dynamic_shapes=False)["detector"].module
    canvas = {name: torch.from_numpy(value) for name, value in on_canvas(image).items()}
    with torch.no_grad():
        boxes, landmarks, scores, count = (output.numpy() for output in detector(*canvas.values()))
    faces = analyzer.detect(image)
    assert count == len(faces) > 0
    for index, face in enumerate(faces):
        np.testing.assert_allclose(boxes[index], face.bbox_xyxy, atol=0.01)
        np.testing.assert_allclose(landmarks[index], face.landmarks_xy, atol=0.01)
        assert scores[index] == pytest.approx(face.confidence, abs=1e-4)


def test_static_shapes_have_the_same_probabilities(analyzer):
    image = read_image(EXAMPLES / "group.jpg")
    expression = build(CANVAS, has_dynamic_shapes=False)["expression"].module
    canvas = [torch.from_numpy(value) for value in on_canvas(image).values()]
    for face in analyzer.analyze(image).faces[:4]:
        with torch.no_grad():
            probabilities, _, _ = expression(
                *canvas, torch.from_numpy(face.bbox_xyxy), torch.from_numpy(face.landmarks_xy)
            )
        np.testing.assert_allclose(probabilities.numpy(), face.expression.probabilities, atol=0.005)


def test_mesh_and_head_pose_are_those_of_python(sessions, analyzer):
    image = read_image(EXAMPLES / "astronaut.jpg")
    (face,) = analyzer.detect(image)
    fitted = LandmarkMesh(threads=1).fit(image, [face], MeshOptions(max_tilt_deg=180, try_rotations=False))[0]
    mesh, presence, rotation, pose = sessions["mesh"].run(
        None, {**on_canvas(image), "box": face.bbox_xyxy, "eyes": face.landmarks_xy[:2]}
    )
    np.testing.assert_allclose(mesh, fitted.mesh_xyz, atol=0.2)
    assert presence == pytest.approx(fitted.presence, abs=0.001)
    assert rotation == pytest.approx(fitted.rotation_deg, abs=0.1)
    expected = head_pose(fitted.mesh_xyz)
    np.testing.assert_allclose(pose, [expected.yaw_deg, expected.pitch_deg, expected.roll_deg], atol=0.1)


def test_an_image_without_faces_has_none():
    image = np.tile(np.linspace(0, 255, 300, dtype=np.uint8)[:, None, None], (1, 200, 3))
    detector = build(640, has_dynamic_shapes=False)["detector"].module
    with torch.no_grad():
        *outputs, count = detector(*(torch.from_numpy(value) for value in on_canvas(image, 640).values()))
    assert count == 0
    assert not any(output.any() for output in outputs)


def test_weights_are_stored_once(graphs):
    assert len(graphs["detector"]) < find_model("face-detector").stat().st_size + 300_000
    assert len(graphs["expression"]) < find_model(MODEL).stat().st_size + 150_000
