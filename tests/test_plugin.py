"""The napari plugin: its manifest, and what its function returns, without napari."""

import inspect
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import deepcv
from deepcv.errors import InputError
from deepcv.plugin import segment_layer

DISC = np.hypot(*(np.mgrid[:40, :50] - np.array([20, 25])[:, None, None])) < 12


def _layer(data, rgb=False, limits=(0, 1)):
    ones = np.ones(data.ndim - rgb)
    given = {"data": data, "rgb": rgb, "multiscale": False, "contrast_limits": limits, "name": "disc"}
    return SimpleNamespace(**given, scale=ones, translate=0 * ones)


def test_the_manifest_is_valid_and_found_by_napari(repository):
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(Path(deepcv.__file__).with_name("napari.yaml"))
    manifest.validate_imports()
    (widget,) = manifest.contributions.widgets
    (command,) = manifest.contributions.commands
    assert widget.command == command.id and widget.autogenerate
    module, name = str(command.python_name).split(":")
    assert (module, name) == (segment_layer.__module__, segment_layer.__name__)
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["napari.manifest"] == {"deepcv": "deepcv:napari.yaml"}


def test_annotations_are_napari_s_own_in_words():
    """magicgui makes a choice among layers of them, and adds the result as one."""
    found = {name: each.annotation for name, each in inspect.signature(segment_layer).parameters.items()}
    assert found["image"] == "napari.layers.Image" and found["seeds"] == "napari.layers.Labels | None"
    assert inspect.signature(segment_layer).return_annotation == "napari.types.LayerDataTuple"


@pytest.mark.parametrize("kind", ["grey", "rgb", "float"])
def test_a_picture_of_any_kind_is_seen_as_napari_shows_it(kind):
    noise = np.random.default_rng(0).normal(0, 5, DISC.shape)
    grey = np.where(DISC, 180, 60) + noise
    layer = {
        "grey": _layer((grey * 100).astype(np.uint16), limits=(0, 25500)),
        "rgb": _layer(np.stack([grey, 255 - grey, grey * 0 + 90], 2).astype(np.uint8), rgb=True),
        "float": _layer(grey - 1000, limits=(-1000, -745)),
    }[kind]
    labels, about, what = segment_layer(layer, "grabcut")
    assert what == "labels" and about["name"] == "disc: GrabCut"
    assert np.mean((labels == 1) == DISC) > 0.97


def test_the_plane_shown_or_every_plane_is_segmented():
    stack = _layer(np.stack([np.where(DISC, 0.8, 0.2), np.where(np.roll(DISC, 9, 1), 0.7, 0.1), np.where(DISC, 1, 0)]))
    viewer = SimpleNamespace(dims=SimpleNamespace(current_step=(1, 20, 25)))
    labels, *_ = segment_layer(stack, "grabcut", viewer=viewer)
    assert labels.shape == stack.data.shape and labels[1].any() and not labels[[0, 2]].any()
    labels, *_ = segment_layer(stack, "grabcut", every_plane=True)
    assert labels.any(axis=(1, 2)).all()


def test_seeds_say_which_is_meant():
    two = np.where(DISC, 0.8, 0.2)
    two[:8, :8] = 0.8
    seeds = np.zeros(DISC.shape, int)
    seeds[2:6, 2:6], seeds[15:25, 20:30], seeds[30:, :10] = 1, 2, 3
    labels, *_ = segment_layer(_layer(two), "grabcut", seeds=SimpleNamespace(data=seeds))
    assert labels[4, 4] == 1 and not labels[20, 25]
    for wrong, says in (({"nu": 3.0}, "grabcut has no ν"), ({"seeds": SimpleNamespace(data=seeds[:9])}, "the seeds")):
        with pytest.raises(InputError, match=says):
            segment_layer(_layer(two), "grabcut", **wrong)


class Lazy:
    """A stack on disk, of which single planes can be read."""

    def __init__(self, values):
        self.values, self.shape, self.ndim = values, values.shape, values.ndim

    def __getitem__(self, place):
        return self.values[place]

    def __array__(self, *_, **__):
        raise MemoryError


@pytest.mark.parametrize(("steps", "plane"), [((5, 1, 20, 25), 1), ((0, 7, 20, 25), 2), ((1, 20, 25), 1)])
def test_a_layer_has_the_viewer_s_last_axes_and_is_not_loaded_whole(steps, plane):
    values = np.stack([np.where(np.roll(DISC, 3 * each, 1), 0.8, 0.2) for each in range(3)])
    seeds = np.zeros(values.shape, int)
    seeds[:, 18:22, 24:28] = 1
    viewer = SimpleNamespace(dims=SimpleNamespace(current_step=steps))
    layer = _layer(Lazy(values))
    labels, *_ = segment_layer(layer, "grabcut", seeds=SimpleNamespace(data=Lazy(seeds)), viewer=viewer)
    assert labels.any(axis=(1, 2)).tolist() == [each == plane for each in range(3)]


def test_an_empty_slice_does_not_stop_the_others():
    stack = _layer(np.stack([DISC * 0.0, np.where(DISC, 0.8, 0.2), DISC * 0.0]))
    labels, *_ = segment_layer(stack, "grabcut", every_plane=True)
    assert labels.any(axis=(1, 2)).tolist() == [False, True, False]


def test_of_several_resolutions_the_finest_is_segmented():
    levels = [np.where(DISC, 0.8, 0.2), np.where(DISC, 0.8, 0.2)[::2, ::2]]
    layer = _layer(levels[0])
    layer.data, layer.multiscale = levels, True
    labels, *_ = segment_layer(layer, "grabcut")
    assert labels.shape == DISC.shape and np.mean((labels == 1) == DISC) > 0.97
    layer.data[0] = np.broadcast_to(np.float32(0), (20_000, 20_000))
    with pytest.raises(InputError, match="disc has 400 million pixels"):
        segment_layer(layer)
