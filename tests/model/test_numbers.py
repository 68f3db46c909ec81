"""NaN and infinity are errors, never a result; settings have bounds; what no other test told apart."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from deepcv.errors import InputError
from deepcv.images import as_hint, as_image, resize, to_uint8
from deepcv.metrics import scores
from deepcv.model import segment
from deepcv.model.phases import arctan_memberships
from deepcv.model.refinement import guided_filter
from deepcv.model.segment import deep_chan_vese
from deepcv.model.settings import Settings
from deepcv.model.start import edge_weights
from deepcv.segmentation import two_phase

IMAGE = np.pad(np.full((12, 14), 0.8), 6, constant_values=0.2) + np.linspace(0, 0.05, 26)
HINT = np.pad(np.ones((12, 14)), 6)


@pytest.mark.parametrize("u_step", ["exact", "gradient"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("learning_rate", 1e30), ("learning_rate_phi", 1e30), ("balance", 1e3), ("latent_mean", 1e20)),
        *(("latent_unit", 1e30), ("pixel_range", 1e20), ("pixel_range", 1e300), ("penalty", 1e38), ("nu", 1e38)),
        *(("hint_weight", 1e38), ("noise_caution", 1e300), ("edge_sensitivity", 1e300)),
        *(("width", 10**9), ("levels", 1000), ("samples", 10**9), ("guided_radius", 10**6)),
    ],
)
def test_settings_have_bounds(u_step, name, value):
    with pytest.raises(InputError, match=f"{name} is .*; it must be a (finite|whole) number"):
        Settings(u_step=u_step, **{name: value})


@pytest.mark.parametrize("u_step", ["exact", "gradient"])
def test_an_energy_that_is_no_number_is_an_error_that_names_what_to_lower(u_step):
    """Past the bounds, as no allowed settings are known that overflow."""
    settings = Settings(steps=2, rounds=1, width=2, u_step=u_step)
    object.__setattr__(settings, "latent_mean", 1e30)
    problem = segment.pose(as_image(IMAGE), as_hint(HINT, IMAGE.shape), settings, 0, "cpu")
    with pytest.raises(
        InputError, match=r"the energy's \w+ is (nan|inf) after step 1; lower latent_mean \(now 1e\+30\)"
    ):
        segment._solve(problem, settings, False)


def test_the_first_step_without_a_finite_energy_is_named():
    settings = Settings(learning_rate=5.0, pixel_range=255.0)
    with pytest.raises(InputError, match=r"the energy's region is nan after step 2; lower learning_rate \(now 5\) or"):
        segment._check_finite({"length": [1.0, 2.0], "region": [0.5, math.nan]}, settings)
    with pytest.raises(InputError, match=r"the energy's length is inf after step 1; lower learning_rate \(now 0.01\)"):
        segment._check_finite({"length": [math.inf]}, Settings())
    segment._check_finite({"length": [1.0]}, settings)


@pytest.mark.parametrize("phases", [129, 200, 256])
def test_as_many_phases_as_are_documented(phases):
    image = np.random.default_rng(0).random((20, 24))
    found = deep_chan_vese(image, phases=phases, u_step="gradient", steps=1, size=22, width=2, levels=1)
    assert found.memberships.shape == (phases, 20, 24)


@pytest.mark.parametrize("shape", [(9, 9), (10, 10), (33, 33)])
@pytest.mark.parametrize("channels", [5, 128, 129, 256, 300])
def test_any_number_of_channels_is_resized_one_like_the_other(channels, shape):
    array = np.random.default_rng(0).random((20, 20, channels)).astype(np.float32)
    found = resize(array, shape)
    assert found.shape == (*shape, channels)
    for channel in (0, channels // 2, channels - 1):
        alone = resize(np.ascontiguousarray(array[..., channel]), shape)
        np.testing.assert_allclose(found[..., channel], alone, atol=1e-5)  # 1e-6 measured, by the order of sums


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_memberships_that_are_no_numbers_are_no_segmentation(value):
    soft = np.full((4, 4), 0.5)
    soft[1, 2] = value
    if np.isnan(value):
        with pytest.raises(InputError, match="the memberships of grabcut are NaN or infinite"):
            two_phase(soft > 0.5, soft, method="grabcut")
    else:
        assert two_phase(soft > 0.5, soft).memberships.max() == 1  # clipped


@pytest.mark.parametrize(
    "ignore", [np.zeros((6, 5), np.uint8), np.full((6, 5), 255, np.uint8), np.zeros((6, 5)), np.zeros(6, bool), [True]]
)
def test_only_a_bool_array_of_the_masks_shape_says_what_is_ignored(ignore):
    mask = np.eye(6, 5) > 0
    with pytest.raises(InputError, match=r"ignore is .*; it must be bool of \(6, 5\)"):
        scores(mask, mask, ignore)
    assert scores(mask, mask, np.zeros((6, 5), bool)) == scores(mask, mask)


def test_the_arctan_has_the_released_codes_slope():
    phi = torch.tensor([0.0, 1.0, -1.0, math.sqrt(3), 1e9]).reshape(1, 1, 1, 5)
    background, foreground = arctan_memberships(phi)[0, :, 0]
    torch.testing.assert_close(foreground, torch.tensor([0.5, 0.75, 0.25, 5 / 6, 1.0]))
    torch.testing.assert_close(background, 1 - foreground)


def test_edge_weights_are_those_of_the_formula():
    """One edge of height 1 in four columns: squared gradients of 1 and 0, a mean of 1/4, so exp(-s / (2 / 4))."""
    image = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 1, 3, 4)
    for sensitivity in (0.0, 0.5, 1.0, 3.0):
        edge = 0.05 + 0.95 * math.exp(-sensitivity * 1 / (2 * 0.25))
        expected = torch.tensor([1.0, 1.0, edge, 1.0]).expand(1, 3, 4)
        torch.testing.assert_close(edge_weights(image, sensitivity), expected)


def test_what_is_no_array_is_refused_and_a_list_is_read():
    assert as_image([[0.1] * 8] * 7 + [[0.5] * 8]).shape == (8, 8)
    for given in (torch.rand(9, 9, requires_grad=True), [[1, 2], [3]]):
        with pytest.raises(InputError, match="the image is no array"):
            as_image(given)
        with pytest.raises(InputError, match="the hint is no array"):
            as_hint(given, (9, 9))
        with pytest.raises(InputError, match="the guide is no array"):
            guided_filter(given, HINT)


def test_the_guided_filter_refuses_what_it_can_not_use_at_once():
    assert guided_filter(IMAGE.tolist(), HINT.tolist(), radius=3).shape == IMAGE.shape
    as_file = Image.fromarray(to_uint8(IMAGE))
    expected = guided_filter(to_uint8(IMAGE) / 255, HINT, radius=3)
    np.testing.assert_array_equal(guided_filter(as_file, HINT, radius=3), expected)
    with pytest.raises(InputError, match=r"a float guide must lie in \[0, 1\], not \[51, "):
        guided_filter(255 * IMAGE, HINT, radius=3)
    with pytest.raises(InputError, match="radius is 1000000"):
        guided_filter(IMAGE, HINT, radius=10**6)
    for value in (np.nan, np.inf):
        bad = HINT.copy()
        bad[3, 4] = value
        for guide, soft in ((IMAGE, bad), (bad, HINT)):
            with pytest.raises(InputError, match="NaN or infinite"):
                guided_filter(guide, soft, radius=3)
