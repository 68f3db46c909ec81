"""Models and checkpoints that were changed are refused before anything is built from them."""

import json
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deepcv.amortized.model import Model
from deepcv.amortized.run import CHECKPOINT, Run, load_checkpoint
from deepcv.amortized.segmenter import FORMAT, VERSION, Segmenter
from deepcv.amortized.settings import Settings
from deepcv.errors import InputError

SETTINGS = Settings(size=16, levels=2, width=4, model_width=4, hint="")
SEGMENTER = Model(SETTINGS, 3).as_segmenter(1, {})
WEIGHTS = {name: value.contiguous() for name, value in SEGMENTER.network.state_dict().items()}
HEADER = {"architecture": SEGMENTER.architecture, "size": 16, "foreground": 1, "card": {}}


def written(path, header=HEADER, weights=WEIGHTS):
    about = header if isinstance(header, str) else json.dumps(header)
    save_file(weights, path, {"format": FORMAT, "version": VERSION, "about": about})
    return path


@pytest.mark.parametrize("name", ["levels", "width"])
@pytest.mark.parametrize("value", [10**9, -1, 0, True, 3, "2", None, 2.0, [2]])
def test_an_architecture_out_of_bounds_or_unlike_the_tensors_is_refused_at_once(name, value, tmp_path):
    header = HEADER | {"architecture": {**HEADER["architecture"], name: value}}
    started = time.process_time()
    with pytest.raises(InputError, match="doesn't contain the network it describes"):
        Segmenter.load(written(tmp_path / "model.safetensors", header))
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "change",
    [
        *({"size": value} for value in (True, 20000, 0, -3, 1.5, "16", None)),
        *({"foreground": value} for value in (2, -1, "1", None, [])),
        {"card": 3},
        {"more": 1},
        *({"architecture": value} for value in ([], {"kind": "x"}, {"kind": ["unet"]}, {"kind": "redo", "width": 16})),
    ],
    ids=str,
)
def test_any_other_header_than_what_is_written_is_refused(change, tmp_path):
    with pytest.raises(InputError, match="doesn't contain the network it describes"):
        Segmenter.load(written(tmp_path / "model.safetensors", HEADER | change))


@pytest.mark.parametrize("header", ["[" * 100_000, "{", "[]", '{"size": NaN}'], ids=["deep", "cut", "list", "NaN"])
def test_a_header_that_is_no_dictionary_is_refused(header, tmp_path):
    with pytest.raises(InputError, match="doesn't contain the network it describes"):
        Segmenter.load(written(tmp_path / "model.safetensors", header))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_an_error_and_never_a_mask(value, tmp_path):
    weights = WEIGHTS | {"0.exit.bias": torch.full_like(WEIGHTS["0.exit.bias"], value)}
    with pytest.raises(InputError, match="weights that are NaN or infinite"):
        Segmenter.load(written(tmp_path / "model.safetensors", weights=weights))


def test_memberships_that_overflow_are_an_error(tmp_path):
    weights = {name: value * 1e38 for name, value in WEIGHTS.items()}
    loaded = Segmenter.load(written(tmp_path / "model.safetensors", weights=weights))
    with pytest.raises(InputError, match="memberships of amortized are NaN or infinite"):
        loaded.predict([np.random.default_rng(0).random((20, 20, 3))])


def test_a_model_of_whole_numbers_is_refused(tmp_path):
    weights = {name: value.to(torch.int8) for name, value in WEIGHTS.items()}
    with pytest.raises(InputError, match="doesn't contain the network it describes"):
        Segmenter.load(written(tmp_path / "model.safetensors", weights=weights))


# -- checkpoints -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written_run(tmp_path_factory):
    """The bytes of the checkpoint of a run after two epochs."""
    model = Model(SETTINGS, 0)
    optimizers = model.optimizers()
    sum(parameter.sum() for parameter in model.parameters()).backward()
    for optimizer in optimizers.values():
        optimizer.step()
    rows = [{"attempt": 0, "epoch": n, "smaller_side": 0.2, "foreground": 1} for n in (1, 2)]
    folder = tmp_path_factory.mktemp("run")
    Run(folder, model, epoch=2, history=rows).save({"width": 4}, optimizers)
    return (folder / CHECKPOINT).read_bytes()


@pytest.fixture
def checkpoint(written_run, tmp_path):
    """The file of such a checkpoint, its content, and a function that restores what is in its folder."""
    (tmp_path / CHECKPOINT).write_bytes(written_run)
    content = load_checkpoint(tmp_path / CHECKPOINT)

    def restore(given=None):
        again = Run(tmp_path, Model(SETTINGS, 1))
        optimizers = again.model.optimizers() if given is None else given(again.model)
        again.restore(load_checkpoint(tmp_path / CHECKPOINT), optimizers, epochs=3)
        return again

    return tmp_path / CHECKPOINT, content, restore


def test_what_was_saved_is_restored(checkpoint):
    _, content, restore = checkpoint
    again = restore()
    assert (again.epoch, again.collapsed, len(again.history)) == (2, 0, 2)
    assert all(torch.equal(value, content["model"][name]) for name, value in again.model.state_dict().items())


def _moment(content, value):
    content["optimizers"]["model"]["state"][0]["exp_avg"] = value


CHANGES = {
    **{
        f"{name} {value}": lambda content, name=name, value=value: content.update({name: value})
        for name in ("epoch", "attempt", "collapsed")
        for value in (10**9, -1, "2", None, 2.5, True)
    },
    **{
        f"{name} {value}": lambda content, name=name, value=value: content.update({name: value})
        for name in ("identity", "history", "model", "optimizers")
        for value in (None, [], 3, {"a": 1})
        if (name, value) != ("identity", {"a": 1})
    },
    "rows that aren't rows": lambda content: content.update(history=[1, 2]),
    "a row less": lambda content: content["history"].pop(),
    "text in a row": lambda content: content["history"][0].update(epoch="1"),
    "a tensor in the identity": lambda content: content["identity"].update(width=torch.zeros(2)),
    "a weight more": lambda content: content["model"].update(more=torch.zeros(1)),
    "another shape": lambda content: content["model"].update({k: v[None] for k, v in content["model"].items()}),
    "NaN": lambda content: content["model"].update({k: v * float("nan") for k, v in content["model"].items()}),
    "a moment of another shape": lambda content: _moment(content, torch.zeros(7)),
    "a moment of NaN": lambda content: _moment(content, torch.full((1, 4, 3, 3, 3), float("nan"))),
    "a moment too many": lambda content: content["optimizers"]["model"]["state"].update({999: {}}),
    "state": lambda content: content["optimizers"]["model"].update(state=5),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_checkpoint_is_a_sentence(change, checkpoint):
    path, content, restore = checkpoint
    change(content)
    torch.save(content, path)
    with pytest.raises(InputError, match="it was changed after it was written; remove it to start again"):
        restore()


def test_more_epochs_than_the_settings_have_are_not_a_finished_run(checkpoint):
    path, content, restore = checkpoint
    rows = [{**content["history"][0], "epoch": n} for n in range(1, 6)]
    torch.save(content | {"epoch": 5, "history": rows}, path)
    with pytest.raises(InputError, match="doesn't fit the networks of its settings"):
        restore()


def test_rates_come_from_the_settings(checkpoint):
    path, content, restore = checkpoint
    content["optimizers"]["model"]["param_groups"] = [{"lr": 1e30}]
    torch.save(content, path)
    kept = {}
    restore(lambda model: kept.setdefault("optimizers", model.optimizers()))
    rates = {group["lr"] for each in kept["optimizers"].values() for group in each.param_groups}
    assert rates == {SETTINGS.learning_rate}
