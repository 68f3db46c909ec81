"""The playground's grid turns ν as a multiple of each method's own, and its table says which."""

import matplotlib
import pandas as pd
import pytest

from deepcv.companion.experiments import playground
from deepcv.companion.experiments.playground import EXPERIMENT, MULTIPLES, SIGMAS, Settings
from deepcv.methods import METHODS, get_method


@pytest.mark.parametrize("profile", Settings.profiles)
def test_every_method_has_every_nu_and_sigma_on_both_images(profile):
    settings = Settings(profile, seeds=(0,))
    items = EXPERIMENT.items(settings)
    assert min(len(MULTIPLES), len(SIGMAS)) >= 5
    for name in settings.methods:
        method, _, preset = name.partition(":")
        own = [item for item in items if (item.method, item.preset) == (method, preset or "default")]
        default = get_method(method).settings(preset or "default").get("nu")
        turned = {default * multiple for multiple in MULTIPLES.values()} if default else {None}
        assert {item.settings.get("nu") for item in own} == turned
        assert len(own) == 2 * len(settings.sigmas) * len(turned)


@pytest.mark.parametrize("profile", Settings.profiles)
def test_every_untrained_method_that_gives_a_mask_is_there_but_for_ablations(profile):
    shown = {name.partition(":")[0] for name in Settings(profile).methods}
    masks = {name for name, method in METHODS.items() if "default" not in method.several and not method.trained}
    assert shown == masks - {"hint-cut", "ridge", "mixture", "forest", "feature-clustering"}


def test_table_and_plot_have_a_line_for_each_nu():
    rows = pd.DataFrame(
        [
            {"sigma": sigma, "image": image, "method": method, "preset": "default", "nu": nu, "f_measure": f}
            for sigma, f in ((0.0, 0.9), (160.0, 0.5))
            for image in "ab"
            for method, nu in (*(("deep-cv", multiple) for multiple in MULTIPLES), ("saliency", ""))
        ]
    )
    table = playground.summary(rows)
    assert table.loc["Deep Chan-Vese, our default"].index.tolist() == list(MULTIPLES)
    assert table.loc["Saliency [34], Otsu"].values.tolist() == [[0.9, 0.5]]
    matplotlib.use("Agg")
    ours, threshold = playground.plot(rows).axes
    assert len(ours.texts) == 2 * len(MULTIPLES)
    assert (ours.get_ylabel(), threshold.get_ylabel()) == ("ν ×", "no ν")
