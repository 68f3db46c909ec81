"""Defaults, presets, and what the number of phases changes."""

import dataclasses

import numpy as np
import pytest

from deepcv.errors import InputError
from deepcv.methods import get_method
from deepcv.model.segment import deep_chan_vese
from deepcv.model.settings import PRESETS, Settings, idle

TWO = {
    "start": "hint",
    "size": 200,
    "nu": 300.0,
    "edge_sensitivity": 1.0,
    "hint_weight": 100.0,
    "balance": 0.75,
    "latent_mean": 10.0,
    "latent_unit": 10.0,
    "levels": 0,
    "steps": 30,
}
EXACT = TWO | {"start": "textures", "nu": 20.0, "hint_weight": 4.0, "latent_mean": 5.0, "latent_unit": 5.0}
GRADIENT = {
    "start": "random",
    "size": 160,
    "nu": 1.0,
    "edge_sensitivity": 0.0,
    "hint_weight": 0.0,
    "balance": 0.0,
    "latent_mean": 5.0,
    "latent_unit": 5.0,
    "levels": 2,
    "steps": 150,
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, TWO),
        ({"phases": 2}, TWO),
        ({"u_step": "gradient"}, TWO),
        ({"phases": 3}, EXACT),
        ({"phases": 256, "u_step": "exact"}, EXACT),
        ({"phases": 3, "u_step": "gradient"}, GRADIENT),
        ({"phases": 4, "nu": 7.0, "levels": 0}, EXACT | {"nu": 7.0}),
        ({"phases": 4, "u_step": "gradient", "start": "clusters"}, GRADIENT | {"start": "clusters"}),
    ],
)
def test_the_number_of_phases_decides_the_same_way_wherever_settings_are_made(given, expected):
    settings = dataclasses.asdict(Settings(**given))
    assert {name: settings[name] for name in expected} == expected
    fixed = {name: value for name, value in settings.items() if name not in (*expected, "phases", "u_step")}
    assert fixed == {name: value for name, value in dataclasses.asdict(Settings()).items() if name in fixed}
    assert get_method("deep-cv").settings(**given) == settings
    assert Settings(**settings) == Settings(**given)


@pytest.mark.parametrize("given", [{}, {"phases": 3}, {"phases": 3, "u_step": "gradient"}])
def test_a_segmentation_ran_with_the_settings_of_their_dataclass(given):
    image = np.random.default_rng(0).random((16, 20), np.float32)
    small = given | {"size": 16, "steps": 1, "rounds": 1, "width": 2, "levels": 0}
    found = deep_chan_vese(image, image, device="cpu", seed=5, **small).settings
    found.pop("empty", None)
    assert found == dataclasses.asdict(Settings(**small)) | {"seed": 5}


@pytest.mark.parametrize("phases", [2, 3])
def test_the_papers_preset_is_the_same_in_the_registry(phases):
    own = dataclasses.asdict(Settings(**PRESETS["paper"], phases=phases))
    assert get_method("deep-cv").settings("paper", phases=phases) == own


def test_presets_are_the_papers_and_the_released_codes():
    paper, printed, released = (Settings(**PRESETS[name]) for name in ("paper", "printed", "released"))
    for preset in (paper, printed):
        assert (preset.width, preset.levels, preset.nu, preset.latent_mean, preset.warmup) == (64, 4, 1.0, 10.0, 0)
    assert (printed.learning_rate, paper.learning_rate, paper.sureness) == (0.1, 0.001, "otsu")
    assert (released.latent_mean, released.warmup, released.steps, released.relaxation) == (60.0, 200, 401, "arctan")
    for preset in (paper, printed, released):
        assert preset.u_step == "gradient" and not preset.learned_variance
        assert preset.hint_weight == 0 and preset.edge_sensitivity == 0 and not preset.balance
    assert (paper.pixel_range, released.pixel_range) == (1.0, 255.0)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"phases": "3"}, "phases is '3'; it must be a whole number from 2 to 256"),
        ({"u_step": "count"}, "u_step is 'count'; it must be 'exact' or 'gradient'"),
        ({"u_step": None, "phases": 3}, "u_step is None"),
        ({"architecture": "skip"}, "levels is 0.* needs at least 1"),
    ],
)
def test_settings_out_of_range_are_refused_when_they_are_made(given, named):
    with pytest.raises(InputError, match=named):
        Settings(**given)


def test_two_phases_can_start_without_a_hint_and_more_cannot_start_from_one():
    image = np.full((24, 30), 0.2)
    image[8:16, 10:20] = 0.8
    small = {"size": 24, "steps": 3, "rounds": 1, "width": 2}
    found = deep_chan_vese(image, device="cpu", start="clusters", **small)
    assert found.mask[12, 15] and not found.mask[0, 0]
    with pytest.raises(InputError, match="start is 'hint', which is for two phases, and phases is 3"):
        Settings(phases=3, start="hint")


@pytest.mark.parametrize(
    ("phases", "u_step", "start", "nu"),
    [
        (2, "exact", "hint", 300),
        (2, "gradient", "hint", 300),
        (3, "exact", "textures", 20),
        (3, "gradient", "random", 1),
    ],
)
def test_some_defaults_depend_on_phases_and_step(phases, u_step, start, nu):
    settings = Settings(phases=phases, u_step=u_step)
    assert (settings.start, settings.nu) == (start, nu)
    assert Settings(phases=phases, u_step=u_step, nu=7.0).nu == 7


@pytest.mark.parametrize("given", [{}, {"u_step": "exact", "phases": 3}, {"u_step": "gradient", "phases": 2}])
def test_the_arctan_is_refused_only_where_it_would_be_used_for_more_than_two_phases(given):
    assert Settings(**given, relaxation="arctan").relaxation == "arctan"
    with pytest.raises(InputError, match="relaxation is 'arctan', which is for two phases, and phases is 3"):
        Settings(u_step="gradient", phases=3, relaxation="arctan")


EXACT_ONLY = {"rounds", "settled", "more_steps"}
DECODED = {"pixel_range", "samples", "channel_mean"}
GRADIENT_ONLY = {"penalty", "warmup", "learning_rate_phi", "relaxation", "sureness", "start_limit"}


@pytest.mark.parametrize(
    ("given", "unused"),
    [
        ({}, GRADIENT_ONLY | DECODED),
        ({"decoder": True}, GRADIENT_ONLY),
        ({"phases": 3}, GRADIENT_ONLY | DECODED),
        ({"u_step": "gradient"}, EXACT_ONLY | DECODED),
        ({"u_step": "gradient", "decoder": True}, EXACT_ONLY),
        ({"u_step": "gradient", "start": "clusters"}, EXACT_ONLY | DECODED | {"sureness"}),
        ({"u_step": "gradient", "phases": 3}, EXACT_ONLY | DECODED | {"sureness", "start_limit"}),
        ({"architecture": "skip", "levels": 2}, GRADIENT_ONLY | DECODED | {"activation"}),
    ],
)
def test_a_setting_counts_as_idle_where_its_description_says_that_it_is_not_used(given, unused):
    assert idle(dataclasses.asdict(Settings(**given))) == unused
