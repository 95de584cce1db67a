from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mien.cli.main import main
from mien.datasets import Index, read_dataset
from mien.errors import ConfigError, DatasetError, InputError
from mien.training.config import AugmentConfig, Config, DataConfig, LoopConfig
from mien.training.data import Batches, load_faces, read_index
from mien.training.preview import CELL, choose_faces, describe_augmentation, draw_preview
from support.datasets import write_rafdb
from support.training import write_recipe, write_stripes


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = write_stripes(tmp_path_factory.mktemp("data"), train=4, valid=1)
    return Config(data=DataConfig(dataset="folder", path=str(root), patch=32, size=32))


@pytest.mark.parametrize(("faces", "views"), [(0, 1), (1, 0), (65, 1), (1, 65)])
def test_rejects_numbers_out_of_range(config, faces, views):
    with pytest.raises(InputError, match="expected 1 to 64"):
        draw_preview(config, faces=faces, views=views)


def test_rejects_data_without_training_faces(config, tmp_path):
    empty = Index(name="none", root=tmp_path, labels=("fear",), samples=(), license="", is_cropped=True)
    with pytest.raises(DatasetError, match="no usable image in the train split"):
        choose_faces(empty, config, 3)


def test_chooses_training_faces_alternating_between_classes(config):
    index = read_dataset("folder", config.data.path)
    chosen = choose_faces(index, config, 5)
    assert [index.labels[sample.label] for sample in chosen] == [*["neutral"] * 2, *["happiness"] * 2, "surprise"]
    assert {sample.split for sample in chosen} == {"train"}
    assert len(choose_faces(index, config, 64)) == 12


def test_excluded_faces_are_not_shown(config, tmp_path):
    index, leaks = read_dataset("folder", config.data.path), tmp_path / "leaks.csv"
    leaks.write_text("Usage,Image name\nTraining,train/neutral/0.png\nTraining,3.png\n")
    leaky = replace(config, data=replace(config.data, exclude=str(leaks)))
    ids = {sample.id for sample in choose_faces(index, leaky, 64)}
    assert len(ids) == 12 - 1 - 3
    assert "train/neutral/0.png" not in ids


@pytest.mark.parametrize("line", ["Training,fer0000000.png", "PublicTest,0.png"])
def test_rejects_the_leak_list_of_another_data_set(config, tmp_path, line):
    leaks = tmp_path / "leaks.csv"
    leaks.write_text(f"Usage,Image name\n{line}\n")
    data = replace(config.data, exclude=str(leaks))
    message = r"leaks.csv names no training image of .*`Training,0.png`"
    with pytest.raises(ConfigError, match=message):
        draw_preview(replace(config, data=data), faces=3, views=1)
    with pytest.raises(ConfigError, match=message):
        load_faces(read_index(data), data, tmp_path)


def test_without_augmentation_every_view_is_the_plain_crop(config):
    plain_config = Config(data=config.data, augment=AugmentConfig(strength=0.0, flip=0.0, unaligned=0.0))
    sheet = np.array(draw_preview(plain_config, faces=3, views=2)).astype(int)
    height = sheet.shape[0]
    y = height - 44 - CELL // 2 + np.arange(-20, 20)
    plain, first, second = (sheet[np.ix_(y, x + np.arange(30, 90))] for x in (220, 378, 516))
    assert plain.std() > 20
    assert np.abs(plain - first).max() <= 6
    np.testing.assert_array_equal(first, second)


def test_views_are_a_function_of_the_seed(config):
    sheets = [np.array(draw_preview(config, faces=3, views=3)) for _ in range(2)]
    np.testing.assert_array_equal(*sheets)
    other = Config(data=config.data, training=LoopConfig(seed=1))
    assert (np.array(draw_preview(other, faces=3, views=3)) != sheets[0]).any()


def test_views_are_the_crops_of_training(config, tmp_path):
    """With all faces of the split in one batch, views of the sheet are steps of a run."""
    from mien.training.preview import _augment

    one_batch = Config(data=config.data, training=LoopConfig(batch=12))
    train, _ = load_faces(read_index(config.data), config.data, tmp_path)
    images, _ = Batches(train, one_batch).at(0)
    augmented = _augment(train, one_batch, 1)[0][:, 0]
    expected = images.round().byte().permute(0, 2, 3, 1).numpy()
    assert sorted(crop.tobytes() for crop in augmented) == sorted(crop.tobytes() for crop in expected)


def test_mixed_views_name_both_faces_with_their_shares(config, tmp_path):
    """Without other augmentation a view is the mean of two plain crops, weighted by the shares of the caption."""
    from mien.training.preview import _augment

    plain = AugmentConfig(strength=0.0, flip=0.0, unaligned=0.0, mixup=0.7)
    faces, _ = load_faces(read_index(config.data), config.data, tmp_path)
    augmented, mixtures = _augment(faces, replace(config, augment=plain), 2)
    originals = _augment(faces, replace(config, augment=replace(plain, mixup=0.0)), 1)[0][:, 0].astype(float)
    distributions = faces.label_distribution.numpy()
    shares = []
    for number, row in enumerate(mixtures):
        for view, (share, partner) in enumerate(row):
            expected = [
                share * originals[number] + (1 - share) * originals[other]
                for other in range(len(originals))
                if np.array_equal(distributions[other], partner)
            ]
            errors = [np.abs(augmented[number, view] - mixed).max() for mixed in expected]
            assert min(errors) <= 1.5
            shares.append(share)
    assert np.std(shares) > 0.05
    sheets = [draw_preview(replace(config, augment=changed), faces=3, views=2) for changed in (plain, AugmentConfig())]
    assert sheets[0].height > sheets[1].height


def test_describes_settings_with_strength():
    settings = describe_augmentation(
        AugmentConfig(strength=2.0, flip=0.5, rotate=15.0, random_erasing=0.7, tint=0.0, mixup=0.2)
    )
    assert {"rotation ±30°", "flip 50 %", "random erasing 100 %", "mixup, alpha 0.2"} <= set(settings)
    assert not any(item.startswith("tint") for item in settings)
    assert describe_augmentation(AugmentConfig(strength=0.0, flip=0.0, unaligned=0.0)) == []


@pytest.mark.parametrize("layout", [["data.dataset=rafdb"], ["--dataset", "rafdb"]])
def test_command_draws_another_data_set_in_the_layout_of_the_recipe_or_its_own(layout, tmp_path, capsys):
    data = write_rafdb(tmp_path / "data", images="original", train=2, test=1)
    recipe = write_recipe(tmp_path, tmp_path / "nowhere")
    arguments = ["data", "preview", str(recipe), "--data", str(data), *layout, "-o", str(tmp_path / "sheet.png")]
    assert main([*arguments, "--faces", "2", "--views", "3"]) == 0
    assert "sheet.png" in capsys.readouterr().out
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] == 44 + 176 + CELL + 30 + 3 * (CELL + 10) - 10 + 44


def test_output_format_follows_the_suffix_and_is_checked_first(config, tmp_path, capsys):
    recipe = write_recipe(tmp_path, tmp_path / "nowhere")
    assert main(["data", "preview", str(recipe), "-o", str(tmp_path / "sheet.pdf")]) == 2
    assert "an image's name must end in .jpg" in capsys.readouterr().err
    arguments = ["data", "preview", str(recipe), f"data.path={config.data.path}", "--faces", "1", "--views", "1"]
    assert main([*arguments, "-o", str(tmp_path / "new" / "sheet.jpg")]) == 0
    with Image.open(tmp_path / "new" / "sheet.jpg") as sheet:
        assert sheet.format == "JPEG"


def test_unreadable_images_are_skipped(config, tmp_path):
    root = write_stripes(tmp_path / "data", train=1, valid=1)
    for broken in ("train/neutral/0.png", "train/happiness/0.png"):
        (root / broken).write_bytes(b"no image")
    data = DataConfig(dataset="folder", path=str(root), patch=32, size=32)
    assert draw_preview(Config(data=data), faces=3, views=1).height < draw_preview(config, faces=3, views=1).height
    (root / "train/surprise/0.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match="none of the images can be read"):
        draw_preview(Config(data=data), faces=3, views=1)
