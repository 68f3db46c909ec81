"""Several starts: what a rule chooses is one of the results, and the truth chooses best."""

import numpy as np
import pytest

from deepcv.companion.experiments import hints, hypotheses
from deepcv.companion.experiments.confidence import EMBEDDED, UNSEEN
from deepcv.companion.experiments.hypotheses import BEST, EXPERIMENT, REFERENCE, RULES, STARTS, Settings

SIZE, CHOOSING = 48, ("least energy", "most agreement", "most contrast", "most confidence", BEST)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPCV_RESULTS", str(tmp_path_factory.mktemp("results")))
        wanted = [name for name in hypotheses.VARIANTS if name != "Algorithm 1 from the mask"]
        settings = Settings(n_images=1, seeds=[0], size=SIZE, variants=wanted, device="cpu")
        yield EXPERIMENT.run(settings, workers=1, progress=False)


def test_a_rule_chooses_one_of_the_results_and_the_truth_the_best(rows):
    f, chosen = (rows.set_index("variant")[column] for column in ("f_measure", "choice"))
    assert (f[list(STARTS)] <= f[BEST]).all() and np.isfinite(f).all()
    for rule in CHOOSING:
        assert f[rule] == f[list(STARTS)[int(chosen[rule])]]
    assert (chosen.drop([*CHOOSING, "majority where doubtful"]) == -1).all()
    assert chosen["majority where doubtful"] in (-1, 0)
    assert f[list(STARTS)].nunique() > 1  # or there is nothing to choose


def test_the_energy_of_a_rule_is_the_least(monkeypatch):
    [group] = EXPERIMENT.groups(Settings(n_images=1, seeds=[0], size=SIZE, variants=(REFERENCE,)))
    [item] = EXPERIMENT.items(Settings(n_images=1, seeds=[0], size=SIZE, variants=(REFERENCE,)))
    sample = group.images.samples[0]
    monkeypatch.setattr(hypotheses, "STARTS", {name: STARTS[name] for name in (REFERENCE, "GrabCut")})
    results = hypotheses.Results(item, sample, hints.structured_matrix_decomposition(sample.image), "cpu")
    least = RULES["least energy"](results)
    assert hypotheses.energy(least) == min(hypotheses.energy(each) for each in results.all)
    assert results.all[1] is results.start("GrabCut") is results.known("GrabCut")
    assert results.known("IEM") is None


def test_contrast_is_that_of_the_boundary():
    image = np.zeros((20, 20))
    image[:, 10:] = 1
    edge, elsewhere = (np.repeat([np.arange(20) >= at], 20, axis=0) for at in (10, 5))
    assert hypotheses.contrast(image, edge) > 1 > hypotheses.contrast(image, elsewhere) == 0
    assert hypotheses.contrast(image, np.ones((20, 20), bool)) == 0


def test_changes_are_told_of_unseen_images_alone(rows):
    table = hypotheses.summary(rows)
    assert set(table.index.get_level_values(1)) == {EMBEDDED} and "No rule is recorded" in hypotheses.finding(rows)
    unseen = rows.assign(images=UNSEEN)
    assert "by the truth" in hypotheses.finding(unseen) and "rules" in hypotheses.finding(unseen)
    labels = [each.get_text() for each in hypotheses.plot(hypotheses.summary(unseen)).axes[0].get_yticklabels()]
    assert BEST not in labels and REFERENCE not in labels and "majority" in labels
    assert BEST in hypotheses.readable(table).to_html()
