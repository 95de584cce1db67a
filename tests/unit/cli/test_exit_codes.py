"""Exit codes of runs over many inputs."""

import pytest

from mien.cli.exit_codes import exit_code


@pytest.mark.parametrize(("failures", "total", "code"), [(0, 0, 0), (0, 3, 0), (1, 3, 1), (3, 3, 2)])
def test_exit_code_counts_the_failures(failures, total, code):
    assert exit_code(failures, total) == code
