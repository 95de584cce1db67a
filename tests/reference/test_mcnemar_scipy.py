"""McNemar's test against SciPy's binomial test and chi-square distribution."""

from __future__ import annotations

import pytest
from scipy import stats

from mien import metrics


@pytest.mark.parametrize("pairs", [(0, 1), (3, 0), (1, 7), (10, 2), (12, 12), (24, 0)])
def test_few_pairs_are_tested_exactly(pairs):
    p, kind = metrics.mcnemar_test(*pairs)
    assert kind == "exact"
    assert p == pytest.approx(stats.binomtest(pairs[0], sum(pairs)).pvalue)


@pytest.mark.parametrize("pairs", [(25, 0), (13, 12), (40, 61), (300, 250), (5, 200)])
def test_many_pairs_are_tested_by_chi_square(pairs):
    p, kind = metrics.mcnemar_test(*pairs)
    statistic = (abs(pairs[0] - pairs[1]) - 1) ** 2 / sum(pairs)
    assert kind == "chi-square"
    assert p == pytest.approx(stats.chi2.sf(statistic, df=1))
