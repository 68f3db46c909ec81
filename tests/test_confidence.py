"""A second opinion agrees with the object and not with something else; the belief rises with mask and hint."""

import numpy as np
import pytest

from deepcv.confidence import belief, confidence, told
from deepcv.door import DOUBTFUL, segment, segment_picture
from deepcv.errors import InputError
from deepcv.methods import get_method
from deepcv.seeds import Seeds

HEIGHT, WIDTH = 80, 120
OBJECT = np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([42, 64])[:, None, None])) < 22
NOISE = np.random.default_rng(0).normal(0, 8, (HEIGHT, WIDTH, 3))
PICTURE = np.clip(np.where(OBJECT[..., None], (200, 120, 60), (120, 140, 110)) + NOISE, 0, 255).astype(np.uint8)
CORNER = np.zeros_like(OBJECT)
CORNER[:20, :30] = True


def test_it_is_high_for_the_object_and_low_for_something_else():
    assert confidence(PICTURE, OBJECT) > 0.9 > DOUBTFUL > 0.1 > confidence(PICTURE, CORNER)
    assert confidence(PICTURE, np.zeros_like(OBJECT)) == 0
    assert told(0.999) == "confidence 0.99"


@pytest.mark.parametrize("mask", [OBJECT[:-1], OBJECT.astype(np.uint8)])
def test_a_mask_is_bool_and_of_the_images_shape(mask):
    with pytest.raises(InputError, match=r"it must be bool of \(80, 120\)"):
        confidence(PICTURE, mask)


def test_belief_rises_with_the_mask_and_with_the_hint():
    hint = np.tile(np.linspace(0, 1, 50, dtype=np.float32), (2, 1))
    outside, inside = belief(np.repeat([[0], [1]], 50, axis=1), hint)
    assert (np.diff(outside) > 0).all() and (np.diff(inside) > 0).all() and (inside > outside).all()
    assert 0 < outside[0] < 0.1 and 0.9 < inside[-1] < 1
    assert outside.dtype == np.float32


def test_the_door_has_both_where_nothing_was_said():
    found = segment(PICTURE, "hint-cut", confidence=True)
    assert found.confidence > 0.9 and not found.notes
    assert found.belief.shape == OBJECT.shape and found.belief[OBJECT].min() > found.belief[CORNER].max()
    method = get_method("hint-cut")
    other = segment_picture(method, PICTURE, None, method.settings(), confidence=True, invert=True)
    np.testing.assert_allclose(other.belief + found.belief, 1, atol=1e-6)
    assert (other.mask == ~found.mask).all() and other.confidence == found.confidence
    marked = segment(PICTURE, "hint-cut", seeds=Seeds(box=(42, 20, 87, 65)), confidence=True)
    hinted = segment(PICTURE, "hint-cut", hint=OBJECT, confidence=True)
    assert (marked.belief, marked.confidence, hinted.belief, hinted.confidence) == (None,) * 4
    assert segment(PICTURE, "hint-cut").confidence is None


def test_a_doubtful_mask_is_called_doubtful(monkeypatch):
    monkeypatch.setattr("deepcv.door.confidence_in", lambda image, mask: 0.41)
    (note,) = segment(PICTURE, "hint-cut", confidence=True).notes
    assert note.startswith("warning: confidence 0.41: a second opinion") and "box" in note
