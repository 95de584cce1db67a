"""What the documents promise is there."""

import json
import re
import tomllib

import pytest

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/browser.md",
    "docs/responsible-use.md",
    "docs/manifest.md",
    "docs/data-sets.md",
    "docs/training.md",
    "docs/reliability.md",
    "docs/scale.md",
    "docs/studies.md",
    "docs/class-priors.md",
    "docs/video.md",
    "docs/voice.md",
    "docs/models/voice.md",
    "docs/performance.md",
    "docs/phones.md",
    "docs/phones-android.md",
    "docs/phones-ios.md",
    "docs/server.md",
    "docs/models/compression.md",
    "docs/models/expression.md",
    "docs/models/mobile.md",
    "docs/models/open.md",
    "docs/models/study.md",
)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(root, name):
    path = root / name
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert not missing
    assert "@@" not in path.read_text(encoding="utf-8")


def test_ci_runs_the_readme_s_test_command(root):
    commands = re.findall(r"^    (python3 -m venv .*pytest)$", (root / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 1


def test_every_image_has_its_license_written_down(root):
    licenses = (root / "examples/LICENSE.md").read_text()
    images = [path.name for path in (root / "examples").iterdir() if path.suffix == ".jpg"]
    assert images
    assert all(f"`{name}`" in licenses for name in images)


def test_no_recipe_vouches_for_weights_trained_on_other_data(root):
    recipes = [tomllib.loads(path.read_text()) for path in (root / "recipes").glob("*.toml")]
    assert recipes
    assert not any("card" in recipe for recipe in recipes)


def test_every_asset_has_a_manifest_that_fits(root):
    from mien.manifest import read_manifest

    models = sorted((root / "src/mien/assets").glob("*.onnx"))
    assert models
    assert all(read_manifest(path).trained_on for path in models)


def test_quality_temperatures_are_those_of_the_manifests(root):
    text = (root / "docs/reliability.md").read_text(encoding="utf-8")
    table = text.partition("| model | weight per halving")[2].partition("\n\n")[0]
    # each row: weight of the size (median size), weight of blur (median sharpness)
    rows = re.findall(r"^\| `(\w+)` \| (.+)$", table, re.MULTILINE)
    documented = {name: [float(number) for number in re.findall(r"\d+\.\d+", cells)] for name, cells in rows}
    keys = ("per_halving", "size_px", "per_blur", "sharpness")
    manifests = {
        path.stem: json.loads(path.read_text(encoding="utf-8")).get("quality_temperature")
        for path in (root / "src/mien/assets").glob("*.json")
        if ".int8" not in path.name
    }
    assert documented == {name: [one[key] for key in keys] for name, one in manifests.items() if one}
