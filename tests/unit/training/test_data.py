import numpy as np
import pytest
import torch
from PIL import Image

from mien.datasets.face_store import FaceStore
from mien.errors import DatasetError
from mien.faces.alignment import align_face
from mien.faces.detection import FaceDetector
from mien.imaging import read_image
from mien.training.config import AugmentConfig, Config, DataConfig, config_from_dict
from mien.training.data import Batches, Faces, evaluation_crops, load_faces, read_index
from mien.training.distributed import Group
from mien.training.prefetch import made_ahead
from support.training import write_stripes

SIDE = 16


@pytest.fixture
def faces():
    """Ten faces of one flat gray each, which their label distribution tells: a crop can be matched with its target."""
    grays = np.arange(10) / 10
    patches = np.broadcast_to((grays * 250).astype(np.uint8)[:, None, None, None], (10, SIDE, SIDE, 3))
    return Faces(
        store=FaceStore(
            patches=patches, landmarks_xy=np.full((10, 5, 2), np.nan, dtype=np.float32), unreadable=()
        ),
        rows=np.arange(10),
        label_distribution=torch.from_numpy(np.stack([grays, 1 - grays], 1)).float(),
        labels=np.zeros(10, dtype=int),
        names=("light", "dark"),
    )


def recipe(**sections) -> Config:
    plain = {
        "data": {"patch": SIDE, "size": SIDE},
        "augment": {"strength": 0.0},
        "training": {"batch": 4},
    }
    return config_from_dict({name: plain.get(name, {}) | sections.get(name, {}) for name in plain})


def test_crops_stand_beside_their_targets(faces):
    images, targets = Batches(faces, recipe()).at(5)
    assert images.shape == (4, 3, SIDE, SIDE)
    torch.testing.assert_close(images[:, 0, 8, 8] / 250, targets[:, 0], atol=0.01, rtol=0)


def test_mixup_mixes_crops_and_targets_alike(faces):
    config = recipe(augment={"strength": 0.0, "mixup": 1.0})
    images, targets = Batches(faces, config).at(5)
    torch.testing.assert_close(images[:, 0, 8, 8] / 250, targets[:, 0], atol=0.01, rtol=0)
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    plain = Batches(faces, recipe()).at(5)[1]
    assert (targets - plain).abs().max() > 0.02
    again, _ = Batches(faces, config).at(5)
    assert torch.equal(images, again)


def test_batches_made_by_threads_are_the_same(faces):
    config = recipe(augment={"strength": 1.0, "mixup": 0.2}, training={"batch": 4})
    straight, steps = Batches(faces, config), range(7)  # over three epochs
    for step, batch in zip(steps, made_ahead(Batches(faces, config).at, steps, 3), strict=True):
        for made, alone in zip(batch, straight.at(step), strict=True):
            torch.testing.assert_close(made, alone)


def test_targets_are_asked_for_the_faces_of_the_batch(faces):
    asked = []

    def targets(places, crops):
        asked.append((places, crops))
        return torch.full((len(places), 2), 0.5)

    images, found = Batches(faces, recipe(), targets).at(2)
    ((places, crops),) = asked
    assert torch.equal(crops, images)
    torch.testing.assert_close(
        images[:, 0, 8, 8] / 250, faces.label_distribution[places, 0], atol=0.01, rtol=0
    )
    assert found.unique().tolist() == [0.5]


def test_a_batch_larger_than_the_split_is_the_split(faces):
    batches = Batches(faces, recipe(training={"batch": 64}))
    assert batches.steps_per_epoch == 1
    assert len(batches.at(0)[0]) == 10


@pytest.mark.parametrize("mixup", [0.0, 0.5])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_processes_see_together_what_one_sees(faces, mixup, accumulate):
    config = recipe(augment={"mixup": mixup}, training={"batch": 7, "accumulate": accumulate})
    images, targets = Batches(faces, config).at(1)
    seen = torch.zeros(7)
    for rank in range(3):
        batches = Batches(faces, config, group=Group(torch.device("cpu"), rank, 3))
        own_images, own_targets = batches.at(1)
        seen[batches.rows] += 1
        torch.testing.assert_close(own_images, images[batches.rows], atol=0.01, rtol=0)
        assert torch.equal(own_targets, targets[batches.rows])
        assert len(own_images) == sum(part.own for part in batches.parts)
    assert seen.tolist() == [1] * 7


def test_photographs_are_learned_from_as_they_are_served(examples, tmp_path):
    """Never by their own framing, in which the face is half as large; in full detail; and not without a face."""
    photograph = read_image(examples / "astronaut.jpg")
    for name, pixels in (
        ("a", photograph),
        ("wall", np.full((200, 200, 3), 127, np.uint8)),
        ("b", photograph),
    ):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    splits = {"a": "train", "wall": "train", "b": "valid"}
    rows = [f"{name}.png,happiness,{split}" for name, split in splits.items()]
    (tmp_path / "t.csv").write_text("\n".join(["image,label,split", *rows]))
    data = DataConfig(dataset="table", path=str(tmp_path / "t.csv"), patch=64, size=64)
    config = Config(data=data, augment=AugmentConfig(strength=0.0, flip=0.0, own_framing=1.0))
    index = read_index(data)
    told = []
    train, valid = load_faces(index, data, tmp_path, on_left_out=told.append)
    assert told == [
        f"left out: 1 photographs in which no face is found. To try them again, remove {tmp_path / 'faces'}."
    ]
    assert [index.samples[row].id for row in train.rows] == ["a.png"]
    images, _ = Batches(train, config).at(0)
    [face, *_] = FaceDetector(threads=1).detect(photograph)
    served = align_face(photograph, face.landmarks_xy, size=64).transpose(2, 0, 1)
    assert np.abs(images[0].numpy() - served).mean() < 2
    assert np.abs(evaluation_crops(valid, data, slice(None))[0].float().numpy() - served).mean() < 2


def test_training_and_evaluation_reduce_alike_between_two_whole_numbers(examples, tmp_path):
    """The defaults, 96 to 64 pixels, lie half-way between no reduction and one by two."""
    names = {"astronaut.jpg": "train", "biden.jpg": "valid"}
    rows = [f"{examples / name},happiness,{split}" for name, split in names.items()]
    (tmp_path / "t.csv").write_text("\n".join(["image,label,split", *rows]))
    data = DataConfig(dataset="table", path=str(tmp_path / "t.csv"), patch=96, size=64)
    train, _ = load_faces(read_index(data), data, tmp_path)
    images, _ = Batches(train, Config(data=data, augment=AugmentConfig(strength=0.0, flip=0.0))).at(0)
    evaluated = evaluation_crops(train, data, slice(None)).float()
    assert (images - evaluated).abs().max() <= 1.51


def test_what_cannot_be_learned_from_is_told(tmp_path):
    root = write_stripes(tmp_path / "data", train=3, valid=1)
    data = DataConfig(dataset="folder", path=str(root), patch=32, size=32)
    told = []
    load_faces(read_index(data), data, tmp_path / "whole", on_left_out=told.append)
    assert told == []
    (root / "train/neutral/0.png").write_bytes(b"no image")
    load_faces(read_index(data), data, tmp_path / "broken", on_left_out=told.append)
    (line,) = told
    assert line.startswith(
        "left out: 1 images that are missing or cannot be read (train/neutral/0.png, ...). To"
    )


def test_images_without_a_split_beside_others_are_refused(tmp_path):
    """They belong to every split when they are measured, and to none when they are learned from."""
    for name in ("split", "plain"):
        write_stripes(tmp_path / name, train=2, valid=1)
    path = f"folder={tmp_path / 'split'},folder={tmp_path / 'plain/train'}"
    data = DataConfig(dataset="joined", path=path, patch=32, size=32)
    with pytest.raises(DatasetError, match=r"6 images have no split, others have: folder-2/"):
        read_index(data)
