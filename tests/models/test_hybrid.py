import pytest
import torch

from mien.errors import ModelError
from mien.models import FaceMobileNet, HybridNet
from mien.models.attention import Modulator, RegionAttention
from mien.models.backbones import BACKBONES
from mien.models.hybrid import FUSIONS
from mien.models.local import LAYOUTS, REGIONS, LocalFeatureExtractor


@pytest.mark.parametrize("regions", [*REGIONS, "none"])
@pytest.mark.parametrize(("fusion", "attention"), [("sum", True), ("concat", False), ("gated", True)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_combination_of_options_has_valid_outputs(regions, fusion, attention, layout):
    model = HybridNet(5, regions=regions, fusion=fusion, attention=attention, layout=layout).eval()
    with torch.no_grad():
        output = model.forward_trainable(model.frozen_features(torch.rand(2, 3, 32, 32) * 255))
    assert output.logits.shape == (2, 5)
    assert output.feature_map.shape == (2, 1024, 1, 1)
    if attention and regions != "none":
        assert output.region_weights.shape == (2, len(model.regions)) == (2, 4)
        torch.testing.assert_close(output.region_weights.sum(dim=1), torch.ones(2))
    else:
        assert output.region_weights is None
        assert model.regions == ()


@pytest.mark.parametrize("backbone", ["face-mobilenet", "face-mesh"])
@pytest.mark.parametrize(("local_stage", "size"), [(1, 64), (1, 70), (2, 97), (3, 32), (3, 70)])
def test_local_branch_supports_every_stage_and_size(local_stage, size, backbone):
    options = {"backbone": backbone, "regions": "anatomical", "attention": True, "local_stage": local_stage}
    model = HybridNet(3, **options).eval()
    assert model(torch.rand(1, 3, size, size) * 255).shape == (1, 3)


def test_resnet50_trunk_has_the_published_parameters_and_gets_gradients():
    trunk = torch.nn.ModuleList(BACKBONES["resnet50"].build())
    assert (
        sum(value.numel() for value in trunk.parameters()) == 23_508_032
    )  # torchvision's number without the classifier
    model = HybridNet(7, backbone="resnet50", regions="anatomical", attention=True).train()
    model(torch.rand(4, 3, 64, 64) * 255).sum().backward()
    assert model.stages[0][0].weight.grad.abs().sum() > 0


def test_default_network_equals_the_face_mobilenet():
    """The names of weights are equal too, so that either can be initialized from a run of the other."""
    torch.manual_seed(0)
    whole = FaceMobileNet(3).eval()
    model = HybridNet(3).eval()
    model.load_state_dict(whole.state_dict())
    images = torch.rand(1, 3, 64, 64) * 255
    torch.testing.assert_close(model(images), whole(images))


def test_stages_have_the_declared_channels():
    for backbone in BACKBONES.values():
        features = torch.rand(1, 3, 64, 64)
        for number, stage in enumerate(backbone.build()):
            features = stage.eval()(features)
            assert features.shape == (1, backbone.channels[number], 16 // 2**number, 16 // 2**number)


def test_resnet50_loads_torchvisions_weights(tmp_path):
    from torchvision.models import resnet50

    torch.manual_seed(0)
    published = resnet50(weights=None).eval()
    torch.save(published.state_dict(), tmp_path / "resnet50.pth")
    model = HybridNet(7, backbone="resnet50").eval()
    model.load_pretrained(tmp_path / "resnet50.pth", torch.zeros(1, 3, 64, 64))
    images = torch.rand(1, 3, 64, 64) * 255
    features = model.pixels(images)
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        features = getattr(published, name)(features)
    torch.testing.assert_close(model.forward_trainable(model.frozen_features(images)).feature_map, features)


def test_rejects_weights_of_another_network(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    model = HybridNet(7, backbone="resnet50")
    with pytest.raises(ModelError, match="not torchvision's ResNet-50"):
        model.load_pretrained(tmp_path / "other.pth", torch.zeros(1, 3, 64, 64))


def test_untrained_parts_preserve_a_trained_trunk():
    """Attention is initialized as the identity, and fusions near the global map."""
    torch.manual_seed(0)
    images = torch.rand(4, 3, 64, 64) * 255
    plain = HybridNet(5).eval()
    for fusion in FUSIONS:
        model = HybridNet(5, regions="anatomical", attention=True, fusion=fusion).eval()
        model.load_state_dict(plain.state_dict(), strict=False)
        with torch.no_grad():
            torch.testing.assert_close(model(images), plain(images), rtol=0.2, atol=0.05)


def test_neutral_modulator_is_the_identity():
    features = torch.randn(2, 32, 7, 7)
    torch.testing.assert_close(Modulator(32, neutral=True).eval()(features), features)
    published = Modulator(32).eval()(features)
    assert (published.abs() < features.abs()).all()  # a sigmoid is below 1


def test_region_weights_are_uniform_at_initialization():
    weights = RegionAttention(4, 8)(torch.randn(3, 4, 8))
    torch.testing.assert_close(weights, torch.full((3, 4), 0.25))


def test_region_weights_scale_the_regions():
    extractor = LocalFeatureExtractor(REGIONS["quadrants"], lambda: torch.nn.AvgPool2d(2), channels=3, attention=True)
    with torch.no_grad():
        extractor.attention.bias.copy_(torch.tensor([100.0, 0, 0, 0]))
    local, weights = extractor(torch.ones(1, 3, 8, 8))
    torch.testing.assert_close(weights, torch.tensor([[1.0, 0, 0, 0]]))
    torch.testing.assert_close(local[:, :, :2, :2], torch.full((1, 3, 2, 2), 4.0))
    assert local[:, :, 2:].abs().max() < 1e-6


def test_pooled_layout_is_the_mean_of_the_regions():
    extractor = LocalFeatureExtractor(
        REGIONS["quadrants"], lambda: torch.nn.AvgPool2d(2), channels=1, attention=False, layout="pooled"
    )
    quarters = torch.tensor([[0.0, 1.0], [2.0, 5.0]]).repeat_interleave(4, 0).repeat_interleave(4, 1)
    local, _ = extractor(quarters[None, None])
    torch.testing.assert_close(local, torch.full((1, 1, 4, 4), 2.0))


def test_overlapping_regions_are_averaged():
    extractor = LocalFeatureExtractor(REGIONS["anatomical"], lambda: torch.nn.AvgPool2d(2), channels=3, attention=False)
    local, weights = extractor(torch.ones(1, 3, 20, 20))
    assert weights is None
    assert set(local.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "vgg"}, "model.backbone is 'vgg'; expected one of face-mobilenet, face-mesh, resnet50"),
        ({"regions": "thirds"}, "model.regions is 'thirds'"),
        ({"layout": "stacked"}, "model.layout is 'stacked'; expected one of tiled, pooled"),
        ({"fusion": "product"}, "model.fusion is 'product'"),
        ({"local_stage": 4}, "model.local_stage is 4"),
        ({"frozen": 3}, "model.frozen is 3; expected 0 to local_stage"),
    ],
)
def test_rejects_invalid_options(options, message):
    with pytest.raises(ModelError, match=message.replace(".", r"\.")):
        HybridNet(3, **options)
