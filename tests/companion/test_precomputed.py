"""The playground's page has a mask of its own for every place of its controls, the truth and the latent image."""

import json
import re

from deepcv.companion.experiments import playground
from deepcv.companion.experiments.playground import MULTIPLES
from deepcv.companion.precomputed import precomputed


def test_every_place_of_the_controls_shows_its_own_picture(tmp_path, monkeypatch, instant_hints):
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    methods = ("deep-cv", "grabcut")
    settings = playground.Settings(n_images=1, sigmas=(0, 80), methods=methods, size=24, seeds=(0,))
    rows = playground.EXPERIMENT.run(settings, workers=1, progress=False)
    page = precomputed(rows, settings, left="deep-cv:default", right="grabcut:default")
    data = json.loads(re.search(r'application/json">(.*?)</script>', page, flags=re.S)[1])
    assert data["nus"] == list(MULTIPLES) and data["sigmas"] == ["0", "80"] and set(data["truths"]) == {"coins"}
    assert all(set(shown) == {"noisy", "latent"} for shown in data["pictures"].values())
    for row in rows.itertuples():
        address, said = data["masks"][f"coins {row.sigma:g} {row.method}:{row.preset} {row.nu}"]
        assert address.startswith("data:image/webp")
        nu = f"ν = {row.settings['nu']:.4g}" if row.nu else "no ν"
        assert said == f"{nu}, F {row.f_measure:.2f}"
    assert len(data["masks"]) == len(rows) == 2 * (len(MULTIPLES) + 1)
    labelled = re.findall(r"<label>([^<]+) <(?:select|input)[^>]* name=\"(\w+)\"", page)
    assert [name for _, name in labelled] == ["image", "left", "right", "nu", "sigma"]
