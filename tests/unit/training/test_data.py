import numpy as np
import pytest
import torch
from PIL import Image

from mien.datasets import Index, Sample
from mien.datasets.face_store import FaceStore
from mien.errors import DatasetError
from mien.faces.alignment import align_face
from mien.faces.detection import FaceDetector
from mien.imaging import read_image
from mien.training.config import AugmentConfig, Config, DataConfig, config_from_dict
from mien.training.data import Batches, Faces, evaluation_crops, load_faces, read_excluded, read_index, usable_rows
from mien.training.distributed import ProcessGroup
from mien.training.prefetch import prefetch
from support.training import write_stripes

SIDE = 16


@pytest.fixture
def faces():
    """Ten faces of one gray level each, equal to the first label: crops can be matched with targets."""
    grays = np.arange(10) / 10
    patches = np.broadcast_to((grays * 250).astype(np.uint8)[:, None, None, None], (10, SIDE, SIDE, 3))
    return Faces(
        store=FaceStore(patches=patches, landmarks_xy=np.full((10, 5, 2), np.nan, dtype=np.float32), unreadable=()),
        rows=np.arange(10),
        label_distribution=torch.from_numpy(np.stack([grays, 1 - grays], 1)).float(),
        labels=np.zeros(10, dtype=int),
        valence_arousal=torch.full((10, 2), float("nan")),
        names=("light", "dark"),
    )


def recipe(**sections) -> Config:
    plain = {"data": {"patch": SIDE, "size": SIDE}, "augment": {"strength": 0.0}, "training": {"batch": 4}}
    return config_from_dict({name: plain.get(name, {}) | sections.get(name, {}) for name in plain})


def test_crops_match_their_targets(faces):
    images, targets = Batches(faces, recipe()).at(5)
    assert images.shape == (4, 3, SIDE, SIDE)
    torch.testing.assert_close(images[:, 0, 8, 8] / 250, targets[:, 0], atol=0.01, rtol=0)


def test_mixup_mixes_crops_and_targets_with_equal_weights(faces):
    config = recipe(augment={"strength": 0.0, "mixup": 1.0})
    images, targets = Batches(faces, config).at(5)
    torch.testing.assert_close(images[:, 0, 8, 8] / 250, targets[:, 0], atol=0.01, rtol=0)
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    plain = Batches(faces, recipe()).at(5)[1]
    assert (targets - plain).abs().max() > 0.02
    again, _ = Batches(faces, config).at(5)
    assert torch.equal(images, again)


def test_prefetched_batches_are_identical(faces):
    config = recipe(augment={"strength": 1.0, "mixup": 0.2}, training={"batch": 4})
    sequential = Batches(faces, config)
    steps = range(7)  # three epochs
    for step, batch in zip(steps, prefetch(Batches(faces, config).at, steps, 3), strict=True):
        for tensor, expected in zip(batch, sequential.at(step), strict=True):
            torch.testing.assert_close(tensor, expected)


def test_target_source_gets_indices_and_crops_of_the_batch(faces):
    calls = []

    def targets(indices, crops):
        calls.append((indices, crops))
        return torch.full((len(indices), 2), 0.5)

    images, batch_targets = Batches(faces, recipe(), targets).at(2)
    ((indices, crops),) = calls
    assert torch.equal(crops, images)
    torch.testing.assert_close(images[:, 0, 8, 8] / 250, faces.label_distribution[indices, 0], atol=0.01, rtol=0)
    assert batch_targets.unique().tolist() == [0.5]


def test_batch_size_is_limited_to_the_split(faces):
    batches = Batches(faces, recipe(training={"batch": 64}))
    assert batches.steps_per_epoch == 1
    assert len(batches.at(0)[0]) == 10


@pytest.mark.parametrize("mixup", [0.0, 0.5])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_processes_together_get_the_batch_of_one(faces, mixup, accumulate):
    config = recipe(augment={"mixup": mixup}, training={"batch": 7, "accumulate": accumulate})
    images, targets = Batches(faces, config).at(1)
    counts = torch.zeros(7)
    for rank in range(3):
        batches = Batches(faces, config, group=ProcessGroup(torch.device("cpu"), rank, 3))
        own_images, own_targets = batches.at(1)
        counts[batches.positions] += 1
        torch.testing.assert_close(own_images, images[batches.positions], atol=0.01, rtol=0)
        assert torch.equal(own_targets, targets[batches.positions])
        assert len(own_images) == sum(shard.size for shard in batches.shards)
    assert counts.tolist() == [1] * 7


def test_photographs_are_aligned_as_in_inference(examples, tmp_path):
    """Aligned even with `unaligned` = 1, in full detail, and only with a detected face."""
    photograph = read_image(examples / "astronaut.jpg")
    for name, pixels in (("a", photograph), ("wall", np.full((200, 200, 3), 127, np.uint8)), ("b", photograph)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    splits = {"a": "train", "wall": "train", "b": "valid"}
    rows = [f"{name}.png,happiness,{split}" for name, split in splits.items()]
    (tmp_path / "t.csv").write_text("\n".join(["image,label,split", *rows]))
    data = DataConfig(dataset="table", path=str(tmp_path / "t.csv"), patch=64, size=64)
    config = Config(data=data, augment=AugmentConfig(strength=0.0, flip=0.0, unaligned=1.0))
    index = read_index(data)
    messages = []
    train, valid = load_faces(index, data, tmp_path, on_message=messages.append)
    assert messages == [
        f"skipped 1 photographs without a detected face. To try them again, remove {tmp_path / 'faces'}."
    ]
    assert [index.samples[row].id for row in train.rows] == ["a.png"]
    images, _ = Batches(train, config).at(0)
    [face, *_] = FaceDetector(threads=1).detect(photograph)
    expected = align_face(photograph, face.landmarks_xy, size=64).transpose(2, 0, 1)
    assert np.abs(images[0].numpy() - expected).mean() < 2
    assert np.abs(evaluation_crops(valid.store, valid.rows, data)[0].float().numpy() - expected).mean() < 2


def test_training_and_evaluation_use_the_same_reduction(examples, tmp_path):
    """The default of 96 to 64 pixels is half-way between no reduction and a reduction by two."""
    names = {"astronaut.jpg": "train", "biden.jpg": "valid"}
    rows = [f"{examples / name},happiness,{split}" for name, split in names.items()]
    (tmp_path / "t.csv").write_text("\n".join(["image,label,split", *rows]))
    data = DataConfig(dataset="table", path=str(tmp_path / "t.csv"), patch=96, size=64)
    train, _ = load_faces(read_index(data), data, tmp_path)
    images, _ = Batches(train, Config(data=data, augment=AugmentConfig(strength=0.0, flip=0.0))).at(0)
    evaluated = evaluation_crops(train.store, train.rows, data).float()
    assert (images - evaluated).abs().max() <= 1.51


def test_reports_unreadable_images(tmp_path):
    root = write_stripes(tmp_path / "data", train=3, valid=1)
    data = DataConfig(dataset="folder", path=str(root), patch=32, size=32)
    messages = []
    load_faces(read_index(data), data, tmp_path / "whole", on_message=messages.append)
    assert messages == []
    (root / "train/neutral/0.png").write_bytes(b"no image")
    load_faces(read_index(data), data, tmp_path / "broken", on_message=messages.append)
    (message,) = messages
    assert message.startswith("skipped 1 missing or unreadable images (train/neutral/0.png, ...). To")


def test_rejects_data_with_and_without_splits(tmp_path):
    """Images without a split belong to every split in evaluation, and to none in training."""
    for name in ("split", "plain"):
        write_stripes(tmp_path / name, train=2, valid=1)
    path = f"folder={tmp_path / 'split'},folder={tmp_path / 'plain/train'}"
    data = DataConfig(dataset="joined", path=path, patch=32, size=32)
    with pytest.raises(DatasetError, match=r"6 images have no split, others have one: folder-2/"):
        read_index(data)


def test_excluded_id_does_not_exclude_other_images_of_that_file_name(tmp_path):
    ids = ("0.png", "a/0.png", "a/1.png", "b/1.png")
    samples = tuple(Sample(id=name, split="train").with_label("fear", ("fear",)) for name in ids)
    index = Index(name="x", root=tmp_path, labels=("fear",), samples=samples, license="", is_cropped=True)
    leaks = tmp_path / "leaks.csv"
    leaks.write_text("Training,0.png\n")
    data = DataConfig(exclude=str(leaks))
    assert read_excluded(index, data) == {"0.png"}
    assert [index.samples[row].id for row in usable_rows(index, "train", {"0.png"})] == list(ids[1:])
    leaks.write_text("Training,0.png\nTraining,1.png\n")
    assert read_excluded(index, data) == {"0.png", "a/1.png", "b/1.png"}


def test_names_in_a_leak_list_are_stripped_and_those_without_an_image_reported(tmp_path):
    root = write_stripes(tmp_path / "data", train=2, valid=1)
    leaks = tmp_path / "leaks.csv"
    leaks.write_text("Usage, Image name\nTraining, train/neutral/0.png\nTraining,1.png \n")
    data = DataConfig(dataset="folder", path=str(root), patch=32, size=32, exclude=str(leaks))
    messages = []
    train, _ = load_faces(read_index(data), data, tmp_path / "run", on_message=messages.append)
    assert (len(train.rows), messages) == (2, [])
    with leaks.open("a") as file:
        file.writelines(f"Training,absent-{number}.png\n" for number in range(4))
        file.write("PrivateTest,test.png\n")
    assert read_excluded(read_index(data), data, messages.append) == {
        "train/neutral/0.png",
        *(f"train/{name}/1.png" for name in ("neutral", "happiness", "surprise")),
    }
    assert messages == [
        "4 of 6 names in data.exclude match no training image: absent-0.png, absent-1.png, absent-2.png, ..."
    ]


def test_a_leak_list_of_all_training_images_is_named(tmp_path):
    root = write_stripes(tmp_path / "data", train=1, valid=1)
    (tmp_path / "leaks.csv").write_text("Training,0.png\n")
    data = DataConfig(dataset="folder", path=str(root), patch=32, size=32, exclude=str(tmp_path / "leaks.csv"))
    with pytest.raises(DatasetError, match=r"data: data\.exclude leaves no usable image in the train split\.$"):
        load_faces(read_index(data), data, tmp_path / "run")
