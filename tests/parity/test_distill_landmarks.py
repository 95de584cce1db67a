"""The small landmark network: prepared faces, training steps, and parity of the exported graph."""

import importlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import CheckpointError, DatasetError
from mien.faces import FaceDetector
from mien.faces.mesh_network import POINTS
from mien.geometry import transform_points
from mien.manifest import read_manifest
from mien.runtime import open_session

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

IRISES = [468, 473]
STEPS, BATCH = 2, 16


@pytest.fixture(scope="module")
def load(root):
    """Function that imports a recipe by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "recipes")
        yield importlib.import_module


@pytest.fixture(scope="module")
def distill(load):
    return load("distill_landmarks")


def symmetric_mesh(random, side):
    """Return points (478, 3) in pairs that mirror each other, within a crop of this side."""
    half = random.uniform([0.3, 0.3, -0.1], [0.48, 0.7, 0.1], (POINTS // 2, 3))
    return side * np.concatenate([half, half * [-1, 1, 1] + [1, 0, 0]])


def write_faces(path, names, *, size, channels, odd_crops):
    """Write prepared faces with random pixels and nearly equal meshes."""
    random = np.random.default_rng(0)
    count = len(names)
    meshes = symmetric_mesh(np.random.default_rng(1), size) + random.normal(0, size / 2000, (count, POINTS, 3))
    shape = (count, size, size, channels) if channels > 1 else (count, size, size)
    np.savez(
        path,
        names=np.array(names),
        crops=random.integers(0, 256, shape, dtype=np.uint8),
        landmarks_xyz=meshes.astype(np.float32),
        logits=np.full(count, 15.0, dtype=np.float32),
        deviations=np.zeros(count),
        to_source=np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1)),
        source_xyxy=np.tile(np.float32([5, 5, size - 5, size - 5]), (count, 1)),
        odd_matrices=np.tile(np.eye(2, 3, dtype=np.float32), (count, odd_crops, 1, 1)),
        odd_logits=np.full((count, odd_crops), -5.0, dtype=np.float32),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of a few synthetic faces."""
    folder = tmp_path_factory.mktemp("faces")
    faces = [f"fer{number}.png" for number in range(12)]
    people = [f"images/Person_{number}_0001.jpg" for number in range(24)]
    write_faces(folder / "ferplus-train.npz", faces, size=96, channels=1, odd_crops=1)
    write_faces(folder / "ferplus-valid.npz", faces[:4], size=96, channels=1, odd_crops=1)
    write_faces(folder / "photographs.npz", people, size=288, channels=3, odd_crops=3)
    return folder


@pytest.fixture(scope="module")
def sets(distill, folder):
    return distill.read_face_sets(folder)


@pytest.fixture
def start(distill, sets):
    """Function that starts a run with the random numbers of `train`."""

    def start(steps=STEPS):
        torch.manual_seed(0)
        return distill.Training(sets, steps=steps, batch=BATCH)

    return start


def test_prepared_landmarks_match_the_detected_eyes(load, portrait, tmp_path):
    faces = load("landmark_faces")
    [face] = FaceDetector(threads=1).detect(portrait)
    x1, y1, x2, y2 = face.bbox_xyxy.astype(int).tolist()
    Image.fromarray(portrait).save(tmp_path / "portrait.png")
    Image.fromarray(portrait[y1:y2, x1:x2]).convert("L").resize((48, 48)).save(tmp_path / "small.png")
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        archive.write(tmp_path / "portrait.png", "images/Somebody_0001.png")
        archive.write(tmp_path / "small.png", "FER2013Train/fer0.png")
        archive.writestr("FER2013Train/label.csv", "")
    for source, shape in ((faces.PHOTOGRAPHS, (288, 288, 3)), (faces.FERPLUS_TRAIN, (96, 96))):
        assert faces.prepare_faces(tmp_path / "faces.zip", source, tmp_path / "faces.npz") == 1
        with np.load(tmp_path / "faces.npz") as prepared:
            assert prepared["crops"].shape == (1, *shape)
            assert prepared["odd_logits"].shape == (1, source.odd_crops)
            assert prepared["logits"][0] > 8
            irises = transform_points(prepared["to_source"][0], prepared["landmarks_xyz"][0, IRISES, :2])
        if source is faces.PHOTOGRAPHS:
            assert np.abs(irises - face.landmarks_xy[:2]).max() < 0.05 * (x2 - x1)
    with pytest.raises(DatasetError, match="FER2013Valid"):
        faces.prepare_faces(tmp_path / "faces.zip", faces.FERPLUS_VALID, tmp_path / "faces.npz")


def test_photographs_of_a_person_are_in_one_split(load):
    is_held_out = load("landmark_faces").is_held_out
    people = [f"images/Person_{number}" for number in range(200)]
    held_out = [person for person in people if is_held_out(f"{person}_0001.jpg")]
    assert 15 < len(held_out) < 45
    assert all(is_held_out(f"{person}_0002.jpg") for person in held_out)


def test_landmarks_follow_the_pixels_of_a_random_crop(load, sets):
    crops = load("landmark_crops")
    faces = sets.training[1]
    mesh = faces.landmarks_xyz[:1].clone()
    mesh[0, 0] = torch.tensor([80.0, 50.0, 0.0])
    stored = crops.map_points(mesh, crops.invert(faces.centering[None]))[0, 0]
    images = torch.zeros(1, 288, 288, 3, dtype=torch.uint8)
    images[0, int(stored[1]) - 2 : int(stored[1]) + 3, int(stored[0]) - 2 : int(stored[0]) + 3] = 255
    dotted = crops.FaceSet(**{**vars(faces), "crops": images, "landmarks_xyz": mesh})
    torch.manual_seed(0)
    for _ in range(5):
        batch = crops.draw_crops(dotted, torch.tensor([0]), new_backgrounds=False)
        brightness = batch.images[0].mean(0)
        y, x = torch.nonzero(brightness > 0.8 * brightness.max()).float().mean(0) + 0.5
        assert torch.dist(torch.stack([x, y]), batch.landmarks_xyz[0, 0, :2]) < 1.5


def test_mirrored_crops_have_mirrored_landmarks(distill, load, sets):
    crops = load("landmark_crops")
    mirrored = distill.mirrored_points(sets.mean_xyz)
    assert mirrored.tolist() == [*range(POINTS // 2, POINTS), *range(POINTS // 2)]
    mesh = torch.as_tensor(symmetric_mesh(np.random.default_rng(2), 128), dtype=torch.float32)
    batch = crops.CropBatch(torch.rand(8, 3, 128, 128), mesh.expand(8, -1, -1), torch.zeros(8))
    torch.manual_seed(0)
    result = distill.mirror_half(batch, mirrored)
    is_mirrored = torch.tensor([torch.equal(*pair) for pair in zip(result.images, batch.images.flip(3), strict=True)])
    assert 0 < is_mirrored.sum() < 8
    assert torch.allclose(result.landmarks_xyz, batch.landmarks_xyz, atol=1e-4)


def test_resumed_run_equals_an_uninterrupted_one(start, tmp_path):
    whole = start()
    whole.run_step()
    whole.save(tmp_path / "checkpoint.pt")
    position, presence = whole.run_step()
    assert np.isfinite([position, presence]).all()
    resumed = start()
    resumed.resume(tmp_path / "checkpoint.pt")
    assert resumed.run_step() == (position, presence)
    for name in ("network", "average"):
        states = (getattr(run, name).state_dict().values() for run in (whole, resumed))
        assert all(torch.equal(*pair) for pair in zip(*states, strict=True))
    with pytest.raises(CheckpointError, match="--steps 2 --batch 16"):
        start(steps=3).resume(tmp_path / "checkpoint.pt")


def test_exported_graph_equals_the_trained_network(distill, load, sets, tmp_path):
    checkpoint, asset = tmp_path / "checkpoint.pt", tmp_path / "face-landmarks-small.onnx"
    distill.train(sets, checkpoint, steps=STEPS, batch=BATCH)
    with pytest.raises(CheckpointError, match="--resume"):
        distill.train(sets, checkpoint, steps=STEPS, batch=BATCH)
    distill.export(sets, checkpoint, asset)
    network, step = distill.load_network(checkpoint)
    components = load("landmark_network").principal_components(distill.predict_training_faces(network, sets), 64)
    restricted = load("landmark_network").restrict_landmarks(network, *components)
    assert step == STEPS
    assert not any(isinstance(layer, torch.nn.PReLU) for layer in network.modules())
    session = open_session(asset, 1)
    images = torch.randint(0, 256, (3, 128, 128, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = restricted.eval()(images.permute(0, 3, 1, 2) / 255)
    for count in (1, 3):
        outputs = session.run(["landmarks", "presence"], {"pixels": images[:count].numpy()})
        for output, reference in zip(outputs, expected, strict=True):
            assert output.dtype == np.float32
            np.testing.assert_allclose(output, reference[:count].numpy(), rtol=0, atol=0.05)
    check_file(asset)


def check_file(asset: Path):
    """Check the manifest, and that the graph is small and has static shapes and standard operators."""
    manifest = read_manifest(asset)
    assert manifest.task == "face-landmarks"
    assert (manifest.input.size, manifest.input.layout) == (128, "NHWC")
    assert len(manifest.trained_on) == 3
    model = onnx.load(asset)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert {node.op_type for node in model.graph.node} == {
        "Cast", "Reshape", "Conv", "Relu", "MaxPool", "Add", "Flatten"
    }  # fmt: skip
    assert asset.stat().st_size < 1.1e6


def test_projected_landmarks_are_those_of_the_components(load):
    recipe = load("landmark_network")
    network = recipe.LandmarkNetwork().eval()
    values = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)) @ torch.randn(5, 3 * POINTS)
    mean, components = recipe.principal_components(values + 64, 5)
    assert torch.allclose(components @ components.T, torch.eye(5), atol=1e-5)
    assert torch.allclose((values + 64 - mean) @ components.T @ components + mean, values + 64, atol=1e-3)
    images = torch.rand(2, 3, 128, 128)
    with torch.no_grad():
        landmarks, presence = network(images)
        projected, same = recipe.restrict_landmarks(network, mean, components)(images)
    assert torch.equal(presence, same)
    assert torch.allclose(projected, (landmarks - mean) @ components.T @ components + mean, atol=1e-3)


def test_export_refuses_a_network_with_slopes(distill, sets, start, tmp_path):
    run = start(steps=1000)
    run.run_step()
    run.save(tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="not yet ReLUs at step 1"):
        distill.export(sets, tmp_path / "checkpoint.pt", tmp_path / "small.onnx")
    assert not (tmp_path / "small.onnx").exists()
