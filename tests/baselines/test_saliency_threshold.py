"""The bare hint is what every method has to beat."""

import numpy as np

from deepcv.baselines.saliency_threshold import saliency_threshold
from deepcv.hints.hint import otsu_mask
from deepcv.hints.saliency import structured_matrix_decomposition

IMAGE = np.random.default_rng(0).random((24, 30, 3)).astype(np.float32)


def test_it_is_the_hint_above_its_threshold_and_the_hint_its_membership():
    hint = np.random.default_rng(1).random((24, 30)).astype(np.float32)
    found = saliency_threshold(IMAGE, hint)
    np.testing.assert_array_equal(found.mask, otsu_mask(hint))
    np.testing.assert_array_equal(found.memberships[1], hint)
    np.testing.assert_allclose(found.memberships.sum(axis=0), 1)
    assert found.method == "saliency"


def test_without_a_hint_it_is_the_saliencys():
    expected = otsu_mask(structured_matrix_decomposition(IMAGE))
    np.testing.assert_array_equal(saliency_threshold(IMAGE, seed=3).mask, expected)
