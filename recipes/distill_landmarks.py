"""Train a small landmark network at 128 pixels to imitate the shipped face mesh at 256, and export it.

    python recipes/landmark_faces.py ferplus.zip wild_valid.zip -o runs/landmarks
    python recipes/distill_landmarks.py train runs/landmarks [--steps 6500] [--batch 128] [--resume]
    python recipes/distill_landmarks.py evaluate runs/landmarks
    python recipes/distill_landmarks.py export runs/landmarks [--asset src/mien/assets/face-landmarks-small.onnx]

The checkpoint is checkpoint.pt in the same folder. The network starts with the weights of the mesh. Its PReLUs become
ReLUs, which run faster, in the first eighth of the steps. Five of eight crops are FER+ faces, the others photographs;
odd crops, which the mesh fits badly, train the presence logit only. Training takes about an hour on two cores;
docs/training.md has a setting of the allocator that speeds it up.

The exported weights are averages over the last steps. The landmarks are restricted to `RANK` principal components of
those predicted for the training faces; batch norms and the division by 255 are folded into the kernels.
"""

import argparse
import copy
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from landmark_crops import SIZE, CropBatch, FaceSet, draw_crops, read_faces, vary_appearance
from landmark_faces import is_held_out
from landmark_network import (
    LandmarkNetwork,
    build_network,
    check_parity,
    freeze_slopes,
    landmark_graph,
    principal_components,
    restrict_landmarks,
    set_slope_strength,
    write_model,
)
from torch import Tensor, nn

from mien.atomic import open_atomic
from mien.errors import CheckpointError, DatasetError
from mien.faces.mesh_network import POINTS
from mien.faces.pose import canonical_face, head_pose
from mien.manifest import Manifest

ASSET = Path(__file__).parents[1] / "src/mien/assets/face-landmarks-small.onnx"
RANK = 64
"""Number of principal components of the exported landmarks."""
LEARNING_RATE = 3e-3
WARMUP_STEPS = 300
WEIGHT_DECAY = 0.02
MAX_GRADIENT_NORM = 20.0
ANNEALED_SHARE = 0.12
"""Share of the steps over which the slopes of the PReLUs decrease to 0."""
PHOTOGRAPH_SHARE = 3 / 8
ODD_SHARE = 0.15
MAX_AVERAGING = 0.999
"""Maximum decay of the averaged weights; it is step / (step + 20) at first."""
DEPTH_WEIGHT = 0.6
"""Weight of depth in the loss, relative to x and y."""
POSE_WEIGHT = 3.0
"""Weight of the landmarks that determine the head pose, relative to the others."""
LOGIT_WEIGHT = 0.1
"""Weight of the loss of logits, relative to those of landmarks in pixels."""
NORM_FACES = 256
"""Number of faces per data set from which batch norms are restored."""
LOG_STEPS = 100
SAVE_STEPS = 1000
EVALUATION_FACES = 600
EVALUATION_JITTER = 0.6
"""Strength of rotation, scale and shift in the evaluation."""
EVALUATION_BATCH = 100
PRESENT_LOGIT, ABSENT_LOGIT = 8.0, 5.0
"""An odd crop is a false face if the network's logit is above the first and the teacher's below the second."""


@dataclass(frozen=True)
class FaceSets:
    """Faces for training, FER+ and photographs, and for evaluation by name."""

    training: tuple[FaceSet, FaceSet]
    evaluation: dict[str, FaceSet]

    @property
    def mean_xyz(self) -> Tensor:
        """The mean mesh (478, 3) of the training faces, in pixels of the crop."""
        return torch.cat([faces.landmarks_xyz for faces in self.training]).mean(0)


def read_face_sets(folder: Path) -> FaceSets:
    """Read the files that recipes/landmark_faces.py wrote to a folder."""
    photographs = folder / "photographs.npz"
    return FaceSets(
        (read_faces(folder / "ferplus-train.npz"), read_faces(photographs, lambda name: not is_held_out(name))),
        {"ferplus": read_faces(folder / "ferplus-valid.npz"), "photographs": read_faces(photographs, is_held_out)},
    )


def mirrored_points(mean_xyz: Tensor) -> Tensor:
    """Return the index (478,) of the point on the other side of the face, for every point of the mean mesh.

    Raises:
        DatasetError: if the mean mesh is not symmetric enough.
    """
    mirrored = mean_xyz * torch.tensor([-1.0, 1.0, 1.0])
    indices = torch.cdist(mean_xyz - mean_xyz.mean(0), mirrored - mirrored.mean(0)).argmin(1)
    if not torch.equal(indices[indices], torch.arange(len(indices))):
        raise DatasetError("the mean mesh of the training faces is not symmetric; prepare more faces.")
    return indices


def mirror_half(batch: CropBatch, mirrored: Tensor) -> CropBatch:
    """Mirror each crop of a batch with probability 1/2; `mirrored` is the result of `mirrored_points`."""
    is_mirrored = torch.rand(len(batch.images)) < 0.5
    images = torch.where(is_mirrored[:, None, None, None], batch.images.flip(3), batch.images)
    landmarks = batch.landmarks_xyz[:, mirrored] * torch.tensor([-1.0, 1.0, 1.0]) + torch.tensor([SIZE, 0.0, 0.0])
    return CropBatch(images, torch.where(is_mirrored[:, None, None], landmarks, batch.landmarks_xyz), batch.logits)


class Training:
    """Network, averaged weights and optimizer of a run.

    Args:
        sets: prepared faces.
        steps: number of steps of the whole run.
        batch: crops per step.
    """

    def __init__(self, sets: FaceSets, *, steps: int, batch: int) -> None:
        self.sets = sets
        self.steps = steps
        self.batch = batch
        self.step = 0
        self.mirrored = mirrored_points(sets.mean_xyz)
        self.network = build_network(self.draw_faces, sets.mean_xyz).to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.network)
        kernels = [value for value in self.network.parameters() if value.ndim > 1]
        others = [value for value in self.network.parameters() if value.ndim <= 1]
        groups = [{"params": kernels, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98))
        self.weights = torch.ones(POINTS, 3)
        self.weights[:, 2] = DEPTH_WEIGHT
        self.weights[canonical_face().landmarks] *= POSE_WEIGHT
        self.weights /= self.weights.mean()

    def draw_faces(self) -> Tensor:
        """Return images (N, 3, SIZE, SIZE) 0..1 of faces of both kinds, to restore batch norms."""
        images = [draw_crops(faces, torch.randperm(len(faces))[:NORM_FACES]).images for faces in self.sets.training]
        return torch.cat(images) / 255

    def draw_batch(self) -> tuple[CropBatch, Tensor]:
        """Return a batch with images 0..1 of varied appearance, and (N,) which of its crops are odd."""
        photographs = round(self.batch * PHOTOGRAPH_SHARE)
        parts, odd = [], []
        for faces, count in zip(self.sets.training, (self.batch - photographs, photographs), strict=True):
            rows = torch.randint(len(faces), (count,))
            odd.append(torch.rand(count) < ODD_SHARE)
            parts.append(draw_crops(faces, rows, odd[-1]))
        batch = mirror_half(CropBatch(*(torch.cat(tensors) for tensors in zip(*parts, strict=True))), self.mirrored)
        return batch._replace(images=vary_appearance(batch.images)), torch.cat(odd)

    def learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        decay = 0.5 + 0.5 * math.cos(math.pi * self.step / self.steps)
        return LEARNING_RATE * min(1, (self.step + 1) / WARMUP_STEPS) * decay

    def losses(self, batch: CropBatch, is_odd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the losses of landmarks, of landmarks about their center (both in pixels), and of logits."""
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            landmarks, logits = self.network(images)
        predicted, target = landmarks.float().reshape(-1, POINTS, 3), batch.landmarks_xyz

        def mean_of_regular(values: Tensor) -> Tensor:
            return ((values * self.weights).mean((1, 2)) * ~is_odd).sum() / (~is_odd).sum()

        centered = (predicted - predicted.mean(1, keepdim=True)) - (target - target.mean(1, keepdim=True))
        position = mean_of_regular(F.smooth_l1_loss(predicted, target, beta=0.5, reduction="none"))
        presence = F.smooth_l1_loss(logits[:, 0].float(), batch.logits, beta=2.0)
        return position, mean_of_regular(centered.abs()), presence

    def run_step(self) -> tuple[float, float]:
        """Train on one batch and return the losses of landmarks, in pixels, and logits."""
        for network in (self.network, self.average):
            set_slope_strength(network, slope_strength(self.step, self.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        position, shape, presence = self.losses(*self.draw_batch())
        self.optimizer.zero_grad()
        (position + shape + LOGIT_WEIGHT * presence).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return position.item(), presence.item()

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(MAX_AVERAGING, self.step / (self.step + 20))
        for average, value in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if value.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        record = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimizer")}
        record |= {"step": self.step, "steps": self.steps, "batch": self.batch, "random": torch.get_rng_state()}
        with open_atomic(path) as file:
            torch.save(record, file)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            CheckpointError: if it is of a run with other steps.
        """
        record = torch.load(path, weights_only=True)
        if (record["steps"], record["batch"]) != (self.steps, self.batch):
            raise CheckpointError(f"{path} is of a run with --steps {record['steps']} --batch {record['batch']}.")
        for name in ("network", "average", "optimizer"):
            getattr(self, name).load_state_dict(record[name])
        self.step = record["step"]
        torch.set_rng_state(record["random"])


def slope_strength(step: int, steps: int) -> float:
    """Return the factor of the slopes of PReLUs after this number of steps."""
    return max(0.0, 1 - step / (ANNEALED_SHARE * steps))


def train(sets: FaceSets, checkpoint: Path, *, steps: int, batch: int, resume: bool = False) -> None:
    """Train a network; print losses, and write the checkpoint every `SAVE_STEPS` steps.

    Raises:
        CheckpointError: if the checkpoint exists and the run does not resume from it.
    """
    if checkpoint.exists() and not resume:
        raise CheckpointError(f"{checkpoint} exists. Add --resume to continue from it, or remove it.")
    torch.manual_seed(0)
    training = Training(sets, steps=steps, batch=batch)
    if checkpoint.exists():
        training.resume(checkpoint)
    losses: list[tuple[float, float]] = []
    started = time.monotonic()
    while training.step < steps:
        losses.append(training.run_step())
        if training.step % LOG_STEPS == 0:
            position, presence = np.mean(losses, axis=0)
            rate = len(losses) * batch / (time.monotonic() - started)
            message = f"landmarks {position:.3f} px, logit {presence:.2f}, {rate:.0f} crops/s"
            print(f"step {training.step}: {message}", flush=True)
        if training.step % SAVE_STEPS == 0 or training.step == steps:
            print(json.dumps(evaluate(training.average, sets)), flush=True)
            training.save(checkpoint)
        if training.step % LOG_STEPS == 0:
            losses, started = [], time.monotonic()


def evaluate(network: LandmarkNetwork, sets: FaceSets) -> dict[str, dict[str, Any]]:
    """Return the differences between network and teacher, by name of the evaluation set."""
    network.eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        results = {name: compare(network, faces) for name, faces in sets.evaluation.items()}
    network.train()
    return results


def compare(network: LandmarkNetwork, faces: FaceSet) -> dict[str, Any]:
    """Return the differences between network and teacher on the first `EVALUATION_FACES` faces.

    Landmarks are in percent of the crop's side, poses are yaw, pitch and roll; [median, 95th percentile] of each. A
    false face is an odd crop that only the network takes for a face.
    """
    torch.manual_seed(1)
    errors, poses, logits, odd_logits = [], [], [], []
    for rows in torch.arange(len(faces))[:EVALUATION_FACES].split(EVALUATION_BATCH):
        crops = draw_crops(faces, rows, strength=EVALUATION_JITTER, new_backgrounds=False)
        landmarks, presence = network(crops.images / 255)
        predicted = landmarks.reshape(-1, POINTS, 3)
        errors.append((predicted - crops.landmarks_xyz)[..., :2].norm(dim=2).mean(1) / SIZE * 100)
        poses += [
            np.subtract(pose_deg(mesh), pose_deg(reference))
            for mesh, reference in zip(predicted.numpy(), crops.landmarks_xyz.numpy(), strict=True)
        ]
        logits.append((presence[:, 0] - crops.logits).abs())
        odd = draw_crops(faces, rows, torch.ones(len(rows), dtype=torch.bool), new_backgrounds=False)
        odd_logits.append(torch.stack([network(odd.images / 255)[1][:, 0], odd.logits], dim=1))
    presence, expected = torch.cat(odd_logits).unbind(1)
    is_absent = expected < ABSENT_LOGIT
    return {
        "landmarks_percent": percentiles(torch.cat(errors).numpy()),
        "pose_deg": percentiles(np.abs(poses)),
        "logit": percentiles(torch.cat(logits).numpy()),
        "false_faces": int((is_absent & (presence > PRESENT_LOGIT)).sum()),
        "odd_crops": int(is_absent.sum()),
    }


def pose_deg(mesh_xyz: np.ndarray) -> tuple[float, float, float]:
    """Return yaw, pitch and roll of a mesh (478, 3)."""
    pose = head_pose(mesh_xyz)
    return pose.yaw_deg, pose.pitch_deg, pose.roll_deg


def percentiles(values: np.ndarray) -> list[Any]:
    """Return median and 95th percentile over the rows of (N,) or (N, K)."""
    return np.percentile(values, [50, 95], axis=0).round(3).tolist()


def load_network(checkpoint: Path) -> tuple[LandmarkNetwork, int]:
    """Return the network with the averaged weights of a checkpoint, and its step."""
    record = torch.load(checkpoint, weights_only=True)
    network = LandmarkNetwork()
    freeze_slopes(network)
    network.load_state_dict(record["average"])
    set_slope_strength(network, slope_strength(record["step"], record["steps"]))
    return network.eval(), record["step"]


@torch.no_grad()
def predict_training_faces(network: LandmarkNetwork, sets: FaceSets) -> Tensor:
    """Return the landmarks (N, 478 * 3) that a network predicts for one random crop of each training face."""
    torch.manual_seed(0)
    mirrored = mirrored_points(sets.mean_xyz)
    landmarks = []
    for faces in sets.training:
        for rows in torch.arange(len(faces)).split(EVALUATION_BATCH):
            batch = mirror_half(draw_crops(faces, rows), mirrored)
            landmarks.append(network(batch.images / 255)[0])
    return torch.cat(landmarks)


def export(sets: FaceSets, checkpoint: Path, asset: Path) -> Manifest:
    """Write the ONNX file of a checkpoint and its manifest.

    Raises:
        CheckpointError: if the activations are not yet ReLUs.
        ParityError: if the file computes other landmarks than the network.
    """
    network, step = load_network(checkpoint)
    if any(getattr(layer, "strength", 0) > 0 for layer in network.modules()):
        raise CheckpointError(f"{checkpoint}: the activations are not yet ReLUs at step {step}; train further.")
    components = principal_components(predict_training_faces(network, sets), RANK)
    restricted = restrict_landmarks(network, *components)
    faces = sets.evaluation["photographs"]
    rows = torch.arange(len(faces))[:EVALUATION_BATCH]
    images = draw_crops(faces, rows).images.round().to(torch.uint8)
    graph = landmark_graph(restricted)
    check_parity(restricted, graph, images)
    with torch.no_grad():
        moved = (restricted(images / 255)[0] - network(images / 255)[0]).reshape(-1, POINTS, 3).norm(dim=2)
    print(f"{RANK} components move landmarks by {moved.mean():.3f} px, at most {moved.max():.2f} px")
    manifest = write_model(graph, asset, step)
    print(f"{asset}: {len(graph) / 1e6:.2f} MB, step {step}")
    return manifest


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("train", "evaluate", "export"))
    parser.add_argument("folder", type=Path, help="folder of the prepared faces and of the checkpoint")
    parser.add_argument("--steps", type=int, default=6500, help="training steps")
    parser.add_argument("--batch", type=int, default=128, help="crops per step")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, torch's default for 0")
    parser.add_argument("--asset", type=Path, default=ASSET, help="output file of export")
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    sets = read_face_sets(options.folder)
    checkpoint = options.folder / "checkpoint.pt"
    if options.command == "train":
        train(sets, checkpoint, steps=options.steps, batch=options.batch, resume=options.resume)
    elif options.command == "evaluate":
        print(json.dumps(evaluate(load_network(checkpoint)[0], sets), indent=2))
    else:
        export(sets, checkpoint, options.asset)


if __name__ == "__main__":
    main()
