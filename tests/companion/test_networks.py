"""The key of a training: all that its weights depend on, and nothing else."""

import dataclasses

import pytest

from deepcv.companion import compute, networks
from deepcv.companion.items import Item
from deepcv.methods import get_method


def item(method="amortized", seed=0, device="cpu", **changes):
    settings = get_method(method).settings(**{"collection": "flowerlike"} | changes)
    return Item("table2", "flowerlike", "flowerlike_0000", method, "default", seed, settings, device=device)


def test_images_and_epochs_chosen_share_a_training():
    others = (
        item(chosen="validation"),
        dataclasses.replace(item(), image="flowerlike_0001", conditions={"split": "test"}),
    )
    assert {networks.key(each) for each in others} == {networks.key(item())}


def test_whatever_changes_the_weights_changes_the_key():
    changed = [{"seed": 1}, {"device": "cuda H100"}, {"epochs": 3}, {"images": 9}, {"hint": ""}, {"method": "redo"}]
    keys = {networks.key(item(**changes)) for changes in ({}, *changed)}
    assert len(keys) == len(changed) + 1


def test_the_code_of_the_method_and_of_its_teacher_count_and_no_others(monkeypatch):
    assert [networks.teacher(each) for each in (item(), item(hint=""), item("redo"))] == ["deep-cv", "", ""]
    before = networks.key(item()), networks.key(item(hint=""))
    code = {"amortized": "a", "deep-cv": "b"}
    monkeypatch.setattr(networks, "_code", code.__getitem__)
    keys = networks.key(item()), networks.key(item(hint=""))
    code["deep-cv"] = "edited"
    assert networks.key(item()) not in (before[0], keys[0]) and networks.key(item(hint="")) == keys[1]


def test_an_early_epoch_of_a_training_that_never_restarts_is_a_stage():
    for chosen, restarts, stage in ((1, 0, 1), (1, 3, None), (4, 0, None), ("last", 0, None), ("validation", 0, None)):
        assert networks.stage(item(chosen=chosen, restarts=restarts, epochs=4)) == stage


def test_early_stages_of_all_networks_come_before_late_ones():
    order = [(seed, chosen) for seed in (0, 1) for chosen in (1, 2, 4)]
    items = [item(seed=seed, chosen=chosen, restarts=0, epochs=4) for seed, chosen in order]
    found = [(unit[0].seed, unit[0].settings["chosen"]) for unit in compute.units(items)]
    assert found == sorted(order, key=lambda each: each[1])


@pytest.mark.parametrize("parts", [["ab", "c"], ["a", "bc"], ["abc"]])
def test_a_digest_tells_where_its_parts_end(parts):
    others = {networks.digest(each) for each in (["ab", "c"], ["a", "bc"], ["abc"]) if each != parts}
    assert networks.digest(parts) not in others
