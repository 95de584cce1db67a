"""Class priors: files, the correction of probabilities, and the estimation from unlabeled faces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.class_prior import SOURCE_FACES, UNIFORM, estimate_prior, label_shares, log_ratios, read_prior
from mien.errors import InputError, ModelError
from mien.manifest import AlignmentSpec, InputSpec, Manifest
from mien.metrics import softmax

LABELS = ("neutral", "happiness", "anger")
SOURCE = np.array([0.6, 0.3, 0.1])
TARGET = np.array([0.1, 0.3, 0.6])
MEANS = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]])

MANIFEST = Manifest(
    name="generated",
    version="1",
    task="expression",
    input=InputSpec(size=48),
    sha256="",
    license="MIT",
    labels=LABELS,
    alignment=AlignmentSpec(template="ferplus", margin=0.0),
    class_prior=dict(zip(LABELS, SOURCE.tolist(), strict=True)),
)


def draw(shares, count, seed=0):
    """Points of three Gaussian classes with given shares, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=count, p=shares)
    return MEANS[labels] + rng.normal(size=(count, 2)), labels


def posterior(points, shares):
    """Bayes' rule with the densities of the classes: the reference, without a ratio of priors."""
    densities = np.exp(-((points[:, None] - MEANS) ** 2).sum(axis=2) / 2)
    return densities * shares / (densities * shares).sum(axis=1, keepdims=True)


def test_correction_equals_the_posterior_of_the_new_setting():
    points, _ = draw(TARGET, 200)
    shift = log_ratios(MANIFEST, dict(zip(LABELS, TARGET, strict=True)))
    corrected = softmax(np.log(posterior(points, SOURCE)) + shift)
    np.testing.assert_allclose(corrected, posterior(points, TARGET), atol=1e-12)


def test_uniform_gives_every_class_the_same_share():
    equal = log_ratios(MANIFEST, {"neutral": 2, "happiness": 2, "anger": 2})
    np.testing.assert_allclose(log_ratios(MANIFEST, UNIFORM), equal)
    np.testing.assert_allclose(equal, np.log(1 / 3 / SOURCE))


def test_the_prior_of_the_calibration_changes_nothing():
    np.testing.assert_allclose(log_ratios(MANIFEST, MANIFEST.class_prior), 0, atol=1e-12)


def test_a_class_of_frequency_zero_is_never_predicted():
    points, _ = draw(TARGET, 500)
    shift = log_ratios(MANIFEST, {"neutral": 1, "happiness": 1, "anger": 0})
    corrected = softmax(20 * np.log(posterior(points, SOURCE)) + shift)
    assert corrected[:, 2].max() < 1e-9


def test_estimation_recovers_a_known_shift():
    points, labels = draw(TARGET, 5000)
    shares = estimate_prior(posterior(points, SOURCE), SOURCE)
    np.testing.assert_allclose(shares, np.bincount(labels) / len(labels), atol=0.03)
    # the mean probability alone stays near the old shares
    assert abs(posterior(points, SOURCE).mean(axis=0) - TARGET).max() > 0.2


def test_estimation_maximizes_the_posterior_probability():
    points, _ = draw(TARGET, 400)
    probabilities = posterior(points, SOURCE)

    def posterior_density(shares):
        return np.log((probabilities / SOURCE * shares).sum(axis=1)).sum() + SOURCE_FACES * SOURCE @ np.log(shares)

    best = estimate_prior(probabilities, SOURCE)
    assert best.sum() == pytest.approx(1)
    for change in np.random.default_rng(1).normal(0, 0.01, (20, 3)):
        other = np.abs(best + change)
        assert posterior_density(best) >= posterior_density(other / other.sum()) - 1e-6


def test_estimation_without_a_shift_stays_at_the_calibration():
    points, labels = draw(SOURCE, 20_000)
    probabilities = posterior(points, SOURCE)
    source = label_shares(labels, 3)
    np.testing.assert_allclose(estimate_prior(probabilities, SOURCE), source, atol=0.03)


@pytest.mark.parametrize("count", [1, 300])
def test_estimation_excludes_no_class(count):
    shares = estimate_prior(np.eye(3)[[0]].repeat(count, axis=0), SOURCE)
    np.testing.assert_allclose(shares, (count * np.eye(3)[0] + SOURCE_FACES * SOURCE) / (count + SOURCE_FACES))


def test_balanced_weights_are_part_of_the_shares():
    labels = np.repeat([0, 1], [16, 4])
    np.testing.assert_allclose(label_shares(labels, 3), [0.8, 0.2, 0])
    np.testing.assert_allclose(label_shares(labels, 3, balance=0.5), [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(label_shares(labels, 3, balance=1), [0.5, 0.5, 0])


def test_a_class_without_calibration_faces_keeps_a_share_of_zero():
    points, labels = draw([0.7, 0.3, 0.0], 100)
    source = label_shares(labels, 3)
    assert source[2] == 0
    assert source.sum() == pytest.approx(1)
    assert estimate_prior(posterior(points, SOURCE), source)[2] == 0
    manifest = replace(MANIFEST, class_prior=dict(zip(LABELS, source.tolist(), strict=True)))
    with pytest.raises(InputError, match="no calibration face of generated shows anger"):
        log_ratios(manifest, UNIFORM)
    shift = log_ratios(manifest, {"neutral": 1, "happiness": 1, "anger": 0})
    assert softmax(np.array([[0.0, 0.0, 20.0]]) + shift)[0, 2] < 1e-9


def test_faces_of_a_class_without_a_share_do_not_change_the_estimate():
    source = np.array([0.7, 0.3, 0.0])
    points, _ = draw(source, 50)
    probabilities = posterior(points, SOURCE)
    excluded = np.eye(3)[[2]]
    np.testing.assert_allclose(
        estimate_prior(np.vstack([probabilities, excluded]), source), estimate_prior(probabilities, source)
    )
    np.testing.assert_allclose(estimate_prior(excluded, source), source)


def test_no_face_is_an_error():
    with pytest.raises(InputError, match="no face"):
        estimate_prior(np.empty((0, 3)), SOURCE)


def test_a_manifest_without_class_prior_is_one_clear_error():
    with pytest.raises(ModelError, match=r"generated has no class_prior in its manifest.*Export or adapt"):
        log_ratios(replace(MANIFEST, class_prior={}), UNIFORM)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("prior.json", '{"neutral": 6, "happiness": 3, "anger": 1}'),
        ("prior.csv", "label,frequency\nneutral,0.6\nhappiness,0.3\nanger,0.1\n"),
    ],
)
def test_reads_shares_and_counts_from_files(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert read_prior(path) == pytest.approx(dict(zip(LABELS, SOURCE.tolist(), strict=True)))
    assert read_prior(str(path)) == read_prior(path)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.json", "[1, 2]", "expected a JSON object"),
        ("a.json", "{", "expected a JSON object"),
        ("a.json", '{"neutral": -1}', "frequency of neutral is -1"),
        ("a.json", '{"neutral": "often"}', "frequency of neutral is 'often'"),
        ("a.json", '{"neutral": NaN}', "frequency of neutral is nan"),
        ("a.json", '{"neutral": 0}', "at least one class"),
        ("a.json", "{}", "at least one class"),
        ("a.json", '{"neutral": 1, "fear": 1, "neutral": 3}', "a label occurs twice"),
        ("a.json", '{"neutral": {"fear": 1}}', "frequency of neutral is "),
        ("a.json", f'{{"neutral": 1{"0" * 400}}}', "frequency of neutral is 1000"),
        ("a.csv", "class,share\nneutral,1\n", "columns label and frequency"),
        ("a.csv", "label,frequency\nneutral,1\nneutral,2\n", "a label occurs twice"),
        ("a.csv", "label,frequency\nneutral\n", "frequency of neutral is None"),
        ("a.csv", "\xff", "is not text"),
        ("a.csv", f"label,frequency\n{'x' * 200_000},1\n", r"is not CSV \(field larger than field limit"),
        ("a.json", "[" * 100_000, "expected a JSON object"),
    ],
)
def test_rejects_broken_files(tmp_path, name, text, problem):
    path = tmp_path / name
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=problem):
        read_prior(path)


def test_rejects_a_missing_file():
    with pytest.raises(InputError, match=r"even: no such file or directory; expected uniform or a file\."):
        read_prior("even")


def test_names_unknown_and_missing_classes():
    with pytest.raises(InputError, match="has no class fear; it has neutral, happiness, anger"):
        log_ratios(MANIFEST, {"neutral": 1, "happiness": 1, "anger": 1, "fear": 1})
    with pytest.raises(InputError, match="no frequency of happiness, anger; 0 excludes a class"):
        log_ratios(MANIFEST, {"neutral": 1})


@pytest.mark.parametrize("prior", [[0.5, 0.5], 0.5, np.array([0.5, 0.5])])
def test_rejects_other_types(prior):
    with pytest.raises(InputError, match="expected frequencies by class"):
        read_prior(prior)


def test_sum_of_frequencies_may_exceed_the_largest_number():
    assert read_prior({"neutral": 1.5e308, "happiness": 1.5e308}) == {"neutral": 0.5, "happiness": 0.5}


def test_suffix_may_be_in_capitals(tmp_path):
    path = tmp_path / "SETTING.CSV"
    path.write_text("label,frequency\nneutral,1\n")
    assert read_prior(path) == {"neutral": 1.0}
