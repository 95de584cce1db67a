"""Time bins: edges, sums and means."""

from __future__ import annotations

import numpy as np
import pytest

from mien.video.time_bins import bin_edges, bin_means, bin_sums

BEGIN_S, END_S = np.array([0.5, 5.0]), np.array([2.0, 6.0])
EDGES_S = np.array([0.0, 2.0, 4.0, 6.0])


def test_widens_bins_until_few_enough():
    np.testing.assert_allclose(bin_edges(6.0, 1.0, 4), EDGES_S)
    np.testing.assert_allclose(bin_edges(0.3, 0.1, 4), [0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize("length_s", [0.301, 0.349, 0.35, 0.4, 6.02])
def test_leaves_no_sliver_at_the_end(length_s):
    edges_s = bin_edges(length_s, 0.1, 1000)
    assert edges_s[-1] >= length_s - 1e-9
    assert edges_s[-1] - length_s <= 0.5 * edges_s[1] + 1e-9
    assert 0.1 <= edges_s[1] < 0.15
    np.testing.assert_allclose(np.diff(edges_s), edges_s[1])


def test_shares_values_out_by_time():
    values = np.array([[1.0, np.nan], [3.0, 3.0]])
    np.testing.assert_allclose(bin_sums(BEGIN_S, END_S, ~np.isnan(values), EDGES_S), [[1.5, 0], [0, 0], [1, 1]])
    np.testing.assert_allclose(bin_means(BEGIN_S, END_S, values, EDGES_S), [[1, np.nan], [np.nan, np.nan], [3, 3]])


@pytest.mark.parametrize("width_s", [0.05, 0.7, 30.0])
def test_loses_no_time(width_s):
    rng = np.random.default_rng(0)
    begin_s = np.sort(rng.uniform(0, 10, 50))
    end_s = np.minimum(begin_s + rng.uniform(0.01, 1, 50), np.append(begin_s[1:], 11))
    values = rng.normal(size=(50, 3))
    sums = bin_sums(begin_s, end_s, values, bin_edges(float(end_s[-1]), width_s, 1000))
    np.testing.assert_allclose(sums.sum(axis=0), (end_s - begin_s) @ values)
