"""A hint is the user's own or the saliency, and its Otsu threshold a mask."""

import numpy as np
import pytest

from deepcv.errors import InputError
from deepcv.hints import hint as module
from deepcv.hints.hint import hint_for, otsu_mask, surer

IMAGE = np.random.default_rng(0).random((12, 16)).astype(np.float32)


def test_the_users_hint_is_taken_as_it_is(monkeypatch):
    monkeypatch.setattr(module, "structured_matrix_decomposition", None)  # not to be asked
    hint = np.random.default_rng(1).random((12, 16))
    np.testing.assert_allclose(hint_for(IMAGE, hint), hint, atol=1e-7)
    marks = hint > 0.5
    np.testing.assert_array_equal(hint_for(IMAGE, marks), marks.astype(np.float32))
    np.testing.assert_allclose(hint_for(IMAGE, np.rint(255 * hint).astype(np.uint8)), hint, atol=1 / 255)


def test_without_one_it_is_the_saliency(monkeypatch):
    planted = np.eye(12, 16, dtype=np.float32)
    monkeypatch.setattr(module, "structured_matrix_decomposition", lambda image: planted if image is IMAGE else None)
    assert hint_for(IMAGE) is planted


def test_otsus_threshold_parts_two_groups_where_their_variance_says():
    generator = np.random.default_rng(2)
    high = generator.random((40, 50)) < 0.2
    hint = np.clip(np.where(high, 0.7, 0.25) + generator.normal(0, 0.05, high.shape), 0, 1).astype(np.float32)
    mask = otsu_mask(hint)
    assert mask.dtype == bool and (mask != high).mean() < 1e-3

    def between(threshold):
        above = hint > threshold
        return above.mean() * (~above).mean() * (hint[above].mean() - hint[~above].mean()) ** 2

    best = max(between(t) for t in np.linspace(hint.min() + 1e-3, hint.max() - 1e-3, 300))
    assert between(hint[~mask].max()) == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("marked", [1, 5, 100, 191])
@pytest.mark.parametrize("levels", [(0, 1), (0.5, 0.501), (0.9998, 1)])
def test_mask_of_any_hint_that_passes_the_check_is_neither_empty_nor_full(marked, levels):
    hint = np.full(12 * 16, levels[0], dtype=float)
    hint[:marked] = levels[1]
    assert otsu_mask(hint_for(IMAGE, hint.reshape(12, 16))).sum() == marked


@pytest.mark.parametrize("hint", [np.zeros((12, 16)), np.full((12, 16), 0.5) + 1e-6 * np.eye(12, 16)])
def test_a_hint_that_says_nothing_is_refused(hint):
    with pytest.raises(InputError, match="says nothing about the foreground"):
        hint_for(IMAGE, hint)


@pytest.mark.parametrize("sureness", ["map", "sharpened", "otsu"])
def test_a_surer_hint_believes_the_same_more_strongly(sureness):
    hint = np.random.default_rng(3).random((12, 16)).astype(np.float32)
    found = surer(hint, sureness)
    assert found.dtype == np.float32 and found.shape == hint.shape and found.min() >= 0 and found.max() <= 1
    order = hint.ravel().argsort()
    assert (np.diff(found.ravel()[order]) >= 0).all()
    np.testing.assert_array_equal(found > 0.5, hint > 0.5 if sureness == "map" else otsu_mask(hint))
    assert np.abs(found - 0.5).mean() >= np.abs(hint - 0.5).mean()
