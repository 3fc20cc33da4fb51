import numpy as np
import pytest

from msmm.core.errors import UserError
from msmm.training.array_cache import cache_arrays


def test_cached_arrays_are_computed_once_and_row_aligned(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        for start in (0, 3, 6):
            rows = np.arange(start, min(start + 3, 7))
            yield [rows[:, None] * np.ones((1, 2)), rows]

    for _ in range(2):
        a, b = cache_arrays(tmp_path, "test", {"seed": 1}, 7, compute, np.float32)
        np.testing.assert_array_equal(a, np.arange(7)[:, None] * np.ones((1, 2)))
        np.testing.assert_array_equal(b, np.arange(7))
    assert len(calls) == 1
    cache_arrays(tmp_path, "test", {"seed": 2}, 7, compute, np.float32)
    assert len(calls) == 2


def test_an_interrupted_computation_leaves_no_file(tmp_path):
    def compute():
        yield [np.zeros((3, 2))]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_arrays(tmp_path, "test", {}, 7, compute, np.float32)
    assert list(tmp_path.iterdir()) == []


def test_numbers_too_large_for_float16_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"not finite in float16.*--maps_cache_gib=0"):
        cache_arrays(tmp_path, "maps", {}, 2, lambda: [[np.array([[1.0], [7e4]])]], np.float16)
    assert list(tmp_path.iterdir()) == []


def test_a_computation_with_missing_rows_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="expected 7 rows"):
        cache_arrays(tmp_path, "test", {}, 7, lambda: [[np.zeros((3, 2))]], np.float32)
    assert list(tmp_path.iterdir()) == []
