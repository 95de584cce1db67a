import numpy as np
import pytest
import torch

from mien.facestore import FaceStore
from mien.training.config import Config, config_from_dict
from mien.training.data import Batches, Faces
from mien.training.distributed import Group

SIDE = 16


@pytest.fixture
def faces():
    """Ten faces of one flat grey each, which their label distribution tells: a crop can be matched with its target."""
    greys = np.arange(10) / 10
    patches = np.broadcast_to((greys * 250).astype(np.uint8)[:, None, None, None], (10, SIDE, SIDE, 3))
    return Faces(
        store=FaceStore(
            patches=patches, landmarks_xy=np.full((10, 5, 2), np.nan, dtype=np.float32), unreadable=()
        ),
        rows=np.arange(10),
        label_distribution=torch.from_numpy(np.stack([greys, 1 - greys], 1)).float(),
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
