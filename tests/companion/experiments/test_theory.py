"""The checks of the theory see a wrong formula, know the true L, and keep what the theorem's proof says."""

import functools

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

from deepcv.companion import compute
from deepcv.companion.experiments import theory
from deepcv.companion.experiments.theory import EXPERIMENT, Settings
from deepcv.companion.items import Unit
from deepcv.companion.theory import bounds, descent, shrinkage
from deepcv.data import samples
from deepcv.model import energy

SIZE = 8
SETTINGS = {"size": SIZE, "width": 2, "steps": 20, "draws": 300}


@pytest.fixture(scope="module")
def given():
    sample = samples.load("modes-disk")
    hint = 0.2 + 0.6 * sample.mask.astype(np.float32)
    return *theory.reduced(sample.image, hint, SIZE), 0, SETTINGS


def test_closed_form_agrees_with_the_definition_and_a_wrong_one_does_not(given, monkeypatch):
    assert bounds.elbo(*given)["z"] < 4
    right = energy.gaussian_kl
    monkeypatch.setattr(energy, "gaussian_kl", lambda *terms: right(*terms) + 0.5)  # without the -d/2 of one dimension
    assert bounds.elbo(*given)["z"] > 10


def test_the_loss_of_a_data_set_is_a_bound_for_masks_of_0_and_1_and_lacks_the_others_entropy(given, monkeypatch):
    found = bounds.dataset_elbo(*given)
    assert found["z_binary"] < 4 and found["z_entropy"] < 4
    assert found["z_printed"] > 10 and found["z_between"] > 10
    right = energy.gaussian_kl
    monkeypatch.setattr(energy, "gaussian_kl", lambda *terms: right(*terms) + 0.5)
    wrong = bounds.dataset_elbo(*given)
    assert wrong["z_binary"] > 10 and wrong["z_entropy"] > 10


def test_shrinkage_is_what_a_search_finds(given):
    found = shrinkage.shrinkage(*given)
    assert found["deviation"] < -6
    assert found["excess"] < -12
    assert 0 < found["zeroed"] < 1
    assert found["zeroed_paper"] == 1


@pytest.mark.parametrize(("v", "expected"), [((3.0, 4.0), (2.4, 3.2)), ((0.3, 0.4), (0.0, 0.0))])
def test_search_minimises(v, expected):
    np.testing.assert_allclose(shrinkage.searched_minimum(np.array(v), 1.0), expected, atol=1e-6)


def test_lipschitz_constant_is_the_hessians_norm(given):
    image, hint, seed, _ = given
    model = descent.SplitEnergy(image, hint, seed, width=2)
    w = model.best_w()
    gradient = model.gradient(w, create_graph=True)
    rows = [
        torch.cat([part.reshape(-1) for part in torch.autograd.grad(each, list(model.parameters()), retain_graph=True)])
        for each in gradient
    ]
    hessian = torch.stack(rows)
    torch.testing.assert_close(hessian, hessian.T)
    greatest = torch.linalg.eigvalsh(hessian).abs().max().item()
    found, vector = descent.lipschitz(model, w)
    assert found == pytest.approx(greatest, rel=0.01)
    assert np.linalg.norm(hessian.numpy() @ vector) == pytest.approx(found, rel=0.02)


def test_steps_below_the_bound_keep_the_proofs_inequalities(given):
    image, hint, seed, settings = given
    found = descent.bounded_descent(
        functools.partial(descent.SplitEnergy, image, hint, seed, width=2), settings["steps"]
    )
    assert max(found.path.lipschitz.values()) <= found.bound
    numbers = found.measured()
    assert numbers["falls"] == 1
    assert numbers["decrease"] >= 1
    assert numbers["decrease_c0"] >= 1
    assert numbers["relative_c1"] <= 1
    # (7.10): the squares of the steps add up to no more than the fall
    c0 = min(1 / found.alpha - found.bound / 2, descent.PENALTY / 2)
    assert c0 * (found.path.lengths**2).sum() <= found.path.energy[0] - found.path.energy[-1]


def test_steps_far_above_the_bound_climb(given):
    image, hint, seed, _ = given
    model = descent.SplitEnergy(image, hint, seed, width=2)
    bound, _ = descent.lipschitz(model, model.best_w())
    path = descent.descend(model, torch.optim.SGD(model.parameters(), lr=20 * 2 / bound), 10, estimates=0)
    assert (np.diff(path.energy) > 0).any()


def test_redrawn_noise_leaves_the_watched_energy_alone(given):
    image, hint, seed, _ = given
    model = descent.SplitEnergy(image, hint, seed, width=2)
    w, before = model.best_w(), model.noise.clone()
    first = model.total(w)
    assert not torch.equal(model.gradient(w, model.draw()), model.gradient(w))
    assert torch.equal(model.noise, before)
    assert model.total(w) == first


def rows_of(**by_check):
    return pd.DataFrame([{"check": check, **each} for check, found in by_check.items() for each in found])


ROWS = rows_of(
    elbo=[{"z": 0.5}, {"z": 3.5}],
    descent=[
        {"falls": 1.0, "decrease": 1.0, "decrease_c0": 5.0, "relative": 1.01, "relative_c1": 0.4, "tail": 0.2},
        {"falls": 0.9, "decrease": 2.0, "decrease_c0": 6.0, "relative": 0.99, "relative_c1": 0.5, "tail": 0.6},
    ],
)


def test_summary_tells_the_worst_and_how_many_hold():
    table = theory.summary(ROWS)
    by_number = {each.number: table.loc[each.says] for each in theory.STATEMENTS if each.says in table.index}
    assert len(by_number) == len(table) == 7, "a number decides one statement"
    assert by_number["z"][["worst", "holds", "of"]].tolist() == [3.5, 1, 2]
    assert by_number["falls"][["worst", "holds", "of"]].tolist() == [0.9, 1, 2]
    assert by_number["decrease"][["worst", "holds", "of"]].tolist() == [1.0, 2, 2]
    assert by_number["relative"][["worst", "holds", "of"]].tolist() == [1.01, 1, 2]
    assert not table.index.str.startswith("Adam").any(), "what wasn't run isn't there"


def test_what_breaks_its_bound_is_drawn_empty():
    matplotlib.use("Agg")
    left, _ = theory.plot(ROWS).axes
    (marks,) = left.collections
    filled = [colour[3] > 0 for colour in marks.get_facecolors()]
    assert filled == [True, False]


def test_a_check_is_a_row_of_numbers_without_a_mask(monkeypatch):
    monkeypatch.setattr(compute, "_hint", lambda name: compute._sample(name).mask.astype(np.float32))
    items = EXPERIMENT.items(Settings(n_images=1, seeds=(0, 1)))
    assert [item.conditions["check"] for item in items] == [*theory.CHECKS] * 2
    item = items[[*theory.CHECKS].index("shrinkage")]
    [row] = EXPERIMENT.compute("quick", None)(Unit([item]))
    assert row["measured"]["deviation"] < -6
    assert "labels" not in row
    assert "f_measure" not in row
