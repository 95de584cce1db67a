"""McNemar's test compared with SciPy's binomial test."""

from __future__ import annotations

import pytest
from scipy import stats

from mien import metrics


@pytest.mark.parametrize(
    "pairs", [(0, 1), (3, 0), (1, 7), (12, 12), (13, 12), (25, 0), (40, 61), (300, 250), (5, 200), (50_300, 49_700)]
)
def test_mcnemar_matches_scipy_at_any_size(pairs):
    expected = stats.binomtest(pairs[0], sum(pairs)).pvalue
    assert metrics.mcnemar_test(*pairs) == pytest.approx(expected, rel=1e-9, abs=0)
