"""Every method keeps the contract; the registry knows their presets and settings."""

import dataclasses
import inspect
import re

import lazy_loader
import numpy as np
import pytest

import deepcv
from deepcv.amortized import redo
from deepcv.amortized import settings as amortized
from deepcv.companion.closure import code_hash
from deepcv.errors import InputError
from deepcv.methods import METHODS, Method, get_method, split_name, title
from deepcv.model.segment import deep_chan_vese_batch
from deepcv.model.settings import PRESETS, Settings

QUICK = {
    "deep-cv": {"steps": 3, "rounds": 1, "width": 2, "size": 24, "levels": 0},
    "double-dip": {"first_steps": 2, "second_steps": 2},
    "feature-clustering": {"channels": 12, "steps": 5},
}


def picture(colour):
    rows, columns = np.indices((26, 33))
    inside = np.hypot(rows - 13, columns - 15) < 8
    image = np.where(inside, 0.75, 0.3) + np.random.default_rng(0).normal(0, 0.04, inside.shape)
    image = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return np.stack((image, 255 - image, image // 2), axis=2) if colour else image


UNTRAINED = [(name, preset) for name, method in METHODS.items() if not method.trained for preset in method.presets]


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize(("name", "preset"), [*UNTRAINED, ("amortized", "default")])
def test_every_method_keeps_the_contract(name, preset, colour):
    method = get_method(name)
    hint = np.zeros((26, 33))
    hint[6:20, 8:22] = 1
    settings = method.settings(preset, **QUICK.get(name, {}))
    found = method.function(picture(colour), hint, seed=1, device="cpu", **settings)
    assert found.labels.shape == (26, 33) and found.labels.dtype == np.uint8
    if preset in method.several:
        assert 2 < len(found.memberships) <= 10
    else:
        assert len(found.memberships) == 2 and found.mask.dtype == bool
    assert found.labels.max() < len(found.memberships)
    assert found.memberships.shape[1:] == (26, 33) and found.memberships.dtype == np.float32
    assert found.memberships.min() >= 0 and found.memberships.max() <= 1
    np.testing.assert_allclose(found.memberships.sum(axis=0), 1, atol=1e-5)
    assert found.method == name and found.seconds > 0
    for key, value in () if method.trained else settings.items():
        assert value is None or found.settings[key] == value


SHIPPED = {name: method for name, method in METHODS.items() if name != "redo"}


@pytest.mark.parametrize("method", SHIPPED.values(), ids=SHIPPED)
def test_same_seed_same_mask_and_those_not_random_the_same_for_any(method):
    generator = np.random.default_rng(3)
    image, hint = generator.random((24, 24, 3)), generator.random((24, 24))
    settings = QUICK.get(method.name, {})
    seeds = (1, 1) if method.random else (1, 2)
    first, again = (method.function(image, hint, seed=s, device="cpu", **settings).labels for s in seeds)
    np.testing.assert_array_equal(first, again)


def test_our_model_depends_on_its_seed():
    generator = np.random.default_rng(3)
    image, hint = generator.random((24, 24, 3)), generator.random((24, 24))
    settings = QUICK["deep-cv"] | {"hint_weight": 0.0, "nu": 0.0}
    first, other = (METHODS["deep-cv"].function(image, hint, seed=s, device="cpu", **settings).labels for s in (1, 2))
    assert METHODS["deep-cv"].random and not np.array_equal(first, other)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_methods_are_registered_by_their_name_and_share_a_signature(method):
    assert get_method(method.name) is method and METHODS[method.name] is method
    assert method.title and "default" in method.presets
    parameters = list(inspect.signature(method.function).parameters.values())
    assert [p.name for p in parameters[:4]] == ["image", "hint", "seed", "device"]
    assert parameters[1].default is None and parameters[2].default == 0


def test_the_authors_presets_are_there_and_resolve_to_theirs():
    method = get_method("deep-cv")
    assert set(method.presets) == {"default", *PRESETS}
    for name, changes in PRESETS.items():
        assert Settings(**method.settings(name)) == Settings(**changes)
    assert Settings(**method.settings()) == Settings()
    assert method.settings("paper", width=8)["width"] == 8


def test_settings_of_a_trained_method_tell_what_is_trained_on_which_images():
    for preset, make in amortized.PRESETS.items():
        settings = get_method("amortized").settings(preset, collection="flowerlike", images=9, size=64, epochs=3)
        training = dataclasses.asdict(make(size=64, epochs=3))
        assert settings == {"collection": "flowerlike", "images": 9, "chosen": "last", "training": training}
        assert get_method("amortized").settings(**settings) == settings
    method = get_method("redo")
    assert method.resolve({"size": 32, "chosen": "validation"}).training == redo.Settings(size=32)
    assert (method.trained, get_method("deep-cv").trained) == (True, False)


def test_settings_are_all_there_is_and_take_the_changes():
    assert get_method("chan-vese").settings(nu=0.7) == get_method("chan-vese").settings() | {"nu": 0.7}
    assert get_method("grabcut").settings() == {"iterations": 5}
    assert get_method("saliency").settings() == {}
    assert get_method("deep-cv").has_setting("size") and not get_method("grabcut").has_setting("size")


def test_titles_are_of_the_method_and_its_preset():
    names = ("amortized:paper", "redo", "chan-vese:default", "deep-cv:gradient")
    expected = ["Algorithm 3, paper's settings", "ReDO [13]", "Chan-Vese [11]", "Deep Chan-Vese, gradient step"]
    assert [title(name) for name in names] == expected


def test_the_code_of_a_method_is_what_computes_its_results():
    hashes = {name: code_hash(*method.code) for name, method in METHODS.items()}
    assert len(set(hashes.values())) == len(METHODS)
    assert deep_chan_vese_batch in get_method("deep-cv").code
    assert redo.Model in get_method("redo").code


def test_an_unknown_method_is_refused_with_what_there_is():
    with pytest.raises(InputError, match="no method 'snakes'; there are deep-cv, chan-vese, statistical, "):
        get_method("snakes")
    for wrong in (None, 3, ["deep-cv"]):
        with pytest.raises(InputError, match=r"method is .*; give a name, one of deep-cv, chan-vese"):
            get_method(wrong)


def test_the_functions_of_all_methods_but_the_trained_are_the_package_s():
    names = {method.function.__name__ for method in METHODS.values() if not method.trained}
    assert names <= set(deepcv.__all__)
    assert all(getattr(deepcv, name).__name__ == name for name in names)


def test_type_checkers_know_the_names_of_the_package():
    assert sorted(lazy_loader.attach_stub("deepcv", deepcv.__file__)[2]) == sorted(deepcv.__all__)


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("deep-cv", {"preset": "papers"}, "no preset 'papers'; it has default, paper, printed, released"),
        ("grabcut", {"preset": "paper"}, "grabcut has no preset 'paper'; it has default"),
        ("grabcut", {"nu": 1.0}, "grabcut has no setting 'nu'; it has iterations"),
        ("saliency", {"nu": 1.0}, "saliency has no setting 'nu'; it has none"),
        ("grabcut", {"nu": 1.0, "mu": 1.0}, "no setting 'nu'"),
        ("grabcut", {"mu": 1.0, "nu": 1.0}, "no setting 'mu'"),
        ("chan-vese", {"nu": -1.0}, "nu is -1"),
        ("chan-vese", {"solver": "zzz"}, "solver is 'zzz'; it must be "),
        ("deep-cv", {"mu": 1.0}, "no setting 'mu'"),
        ("deep-cv", {"nu": -1.0}, "nu is -1"),
        ("amortized", {"nu": 1.0}, "no setting 'nu'; there are batch, "),
        ("amortized", {"hint": "guess"}, "no method 'guess'; there are deep-cv"),
        ("amortized", {"chosen": "best"}, "chosen is 'best'; it must be 'last', 'validation' or a whole number"),
        ("redo", {"hint": ""}, "no setting 'hint'"),
        ("redo", {"preset": "paper"}, "redo has no preset 'paper'; it has default"),
    ],
)
def test_unknown_presets_and_settings_are_refused(name, arguments, named):
    with pytest.raises(InputError, match=named):
        get_method(name).settings(**arguments)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("grab_cut", "grabcut"),
        ("grabcut", "grabcut"),
        ("GrabCut", "grabcut"),
        ("deep_chan_vese", "deep-cv"),
        ("deep-cv", "deep-cv"),
        ("chan_vese", "chan-vese"),
        ("inpainting_error_maximization", "iem"),
        ("saliency-threshold", "saliency"),
    ],
)
def test_a_method_goes_by_its_own_and_its_functions_name(spelling, name):
    assert get_method(spelling).name == name
    assert split_name(f"{spelling}:paper") == (name, "paper")


def test_settings_of_ones_own_function_have_names():
    def loose(image, hint=None, *, seed=0, device=None, **settings): ...

    def by_place(image, hint=None, starts=5, *, seed=0, device=None): ...

    with pytest.raises(InputError, match="mine has no setting 'starts'; it has none"):
        Method("mine", "Mine", loose).settings(starts=5)
    for function in (by_place, lambda image, *, seed=0: None, lambda img, hint=None: None):
        with pytest.raises(
            InputError, match=re.escape("it is to begin with image, hint=None, and settings stand after")
        ):
            Method("mine", "Mine", function)


def test_no_two_methods_share_a_name():
    assert [get_method(name).name for name in METHODS] == list(METHODS)
    with pytest.raises(InputError, match="no method 'deep'; there are deep-cv"):
        get_method("deep")
