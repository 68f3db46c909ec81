"""The registry of experiments and the book's contents have the same entries."""

import json
from pathlib import Path

import pytest
import yaml

from deepcv.companion.experiments import EXPERIMENTS, get_experiment
from deepcv.companion.items import Item
from deepcv.errors import InputError

ROOT = Path(__file__).parents[2]
WITHOUT_EXPERIMENT = {"verdict", "speed"}


def test_every_experiment_has_a_notebook_in_the_book():
    parts = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    pages = [chapter["file"] for part in parts for chapter in part["chapters"]]
    notebooks = {page.removeprefix("notebooks/") for page in pages if page.startswith("notebooks/")}
    assert notebooks == set(EXPERIMENTS) | WITHOUT_EXPERIMENT


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_filed_under_its_name_and_decides_its_own_claims(name):
    experiment = get_experiment(name)
    assert experiment.name == name
    assert {claim.notebook for claim in (*experiment.claims, *experiment.cells())} <= {name}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_an_experiment_runs_has_a_key_for_each_row(name):
    experiment = get_experiment(name)
    items = experiment.items(experiment.settings(seeds=(0,)))
    assert all(isinstance(item, Item) and item.code for item in items)
    assert len({item.key for item in items}) == len(items) > 0


def test_an_unknown_experiment_is_named():
    with pytest.raises(InputError, match="there is no experiment 'table9'; there are figure01"):
        get_experiment("table9")


def test_no_measured_number_has_the_name_of_a_condition(repository):
    """One table of the store holds the rows of all experiments."""
    found = [json.loads(path.read_text()) for path in (repository / "results" / "recorded").glob("*.json")]
    names = {
        kind: {name for each in found for name in each.get(kind, ()) if "runs" in each}
        for kind in ("conditions", "measured")
    }
    assert names["conditions"] and names["measured"]
    assert not names["conditions"] & names["measured"]
