"""The expression model as one graph: alignment, network, quality temperature, softmax, abstention."""

import math

import torch
from torch import Tensor, nn

from mien.errors import ModelError
from mien.export.pipeline.resampling import crop_image, fit_similarity
from mien.faces.alignment import TEMPLATES, Framing
from mien.faces.quality import GRAY_WEIGHTS, HALF_SHARPNESS_ENERGY, MIN_VARIANCE, SHARPNESS_CROP
from mien.manifest import MAX_HALVINGS, Manifest


class ExpressionPipeline(nn.Module):
    """Predict the expression of one face, with the results of `mien.Analyzer(pose=False)`.

    Args:
        network: from crops (1, 3, S, S) float32 RGB 0..255 to logits (1, C).
        manifest: manifest of that network.
        has_dynamic_shapes: use dynamic shapes inside, in less time; not all formats have them.

    Raises:
        ModelError: if the manifest has no alignment.
    """

    def __init__(self, network: nn.Module, manifest: Manifest, *, has_dynamic_shapes: bool) -> None:
        super().__init__()
        if manifest.alignment is None:
            raise ModelError(f"{manifest.name} is not an expression model: its manifest has no alignment.")
        self.network = network
        self.manifest = manifest
        self.has_dynamic_shapes = has_dynamic_shapes
        alignment = manifest.alignment
        self.framing = Framing(size=manifest.input.size, template=alignment.template, margin=alignment.margin)

    def forward(
        self, image: Tensor, size_hw: Tensor, bbox_xyxy: Tensor, landmarks_xy: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return calibrated probabilities (C,), the class (1,) int32 or -1 for none, and the sharpness (1,).

        Args:
            image: canvas (H, W, 3) uint8 RGB with the image in its upper left.
            size_hw: (2,) int32 height and width of the image.
            bbox_xyxy: (4,) box of the face in pixels.
            landmarks_xy: (5, 2) landmarks of the face in pixels.
        """
        crop = self._align(image, size_hw, landmarks_xy, self.framing)
        quality_crop = crop
        if self.framing != SHARPNESS_CROP:
            quality_crop = self._align(image, size_hw, landmarks_xy, SHARPNESS_CROP)
        sharpness = _sharpness(quality_crop)
        (logits,) = self.network(crop.permute(2, 0, 1)[None])
        temperature = self.manifest.temperature * self._quality_factor(bbox_xyxy, sharpness)
        probabilities = (logits[0] / temperature).softmax(dim=0)
        confidence, top = probabilities.max(dim=0, keepdim=True)
        label = torch.where(confidence >= self.manifest.abstain_below, top.to(torch.int32), -torch.ones_like(top).int())
        return probabilities, label, sharpness.reshape(1)

    def _align(self, image: Tensor, size_hw: Tensor, landmarks_xy: Tensor, framing: Framing) -> Tensor:
        """Return the aligned crop (S, S, 3) of a face, as `mien.faces.alignment.align_face` does."""
        margin = framing.margin
        target = (TEMPLATES[framing.template] + margin) / (1 + 2 * margin) * framing.size
        similarity = fit_similarity(landmarks_xy, torch.tensor(target, dtype=torch.float32))
        return crop_image(image, size_hw.float(), similarity, framing.size, has_dynamic_shapes=self.has_dynamic_shapes)

    def _quality_factor(self, bbox_xyxy: Tensor, sharpness: Tensor) -> Tensor:
        """Return the factor of the temperature of a small or blurred face; see `QualityTemperature.factor`."""
        spec = self.manifest.quality_temperature
        if spec is None:
            # an exporter drops an unused input, and the graph of every model has the same inputs
            return 1.0 + 0.0 * bbox_xyxy.sum()
        size_px = (bbox_xyxy[2:] - bbox_xyxy[:2]).amin().clamp(min=spec.size_px / 2**MAX_HALVINGS)
        halvings = (math.log(spec.size_px) - size_px.log()).clamp(min=0) / math.log(2)
        blur = (1 - sharpness / spec.sharpness).clamp(min=0, max=1)
        return (spec.per_halving * halvings + spec.per_blur * blur).exp()


def _sharpness(crop: Tensor) -> Tensor:
    """Return the sharpness of a crop (64, 64, 3); see `mien.faces.quality.sharpness`."""
    gray = (crop * torch.tensor(GRAY_WEIGHTS)).sum(dim=2)
    neighbors = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:]
    variance = _variance(gray)
    energy = _variance(neighbors - 4 * gray[1:-1, 1:-1]) / variance.clamp(min=1) * (variance > MIN_VARIANCE)
    return energy / (energy + HALF_SHARPNESS_ENERGY)


def _variance(values: Tensor) -> Tensor:
    centered = values - values.mean()
    return (centered * centered).mean()
