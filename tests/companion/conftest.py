"""What tests of experiments have in common."""

import numpy as np
import pytest

from deepcv.companion import compute
from deepcv.hints import hint


@pytest.fixture
def instant_hints(monkeypatch):
    """The brightness as the saliency map: it takes no time, where a test isn't about the map."""
    monkeypatch.setattr(
        hint, "structured_matrix_decomposition", lambda image: np.atleast_3d(image).mean(2, dtype=np.float32)
    )
    monkeypatch.setattr(compute, "_hints", {})
