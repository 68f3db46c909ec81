"""The first picture of the book: each side shows the picture or a method's mask."""

import json
import re

import pytest

from deepcv.companion.before_after import PICTURE, before_after
from deepcv.companion.experiments import figure03


@pytest.fixture
def rows(tmp_path, monkeypatch, instant_hints):
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    settings = figure03.Settings(images=["coffee", "overlap-disk"], methods=["saliency", "hint-cut"])
    return figure03.EXPERIMENT.run(settings, workers=1, progress=False)


def test_every_picture_has_itself_and_each_mask_with_its_score(rows):
    page = before_after(rows, left=PICTURE, right="hint-cut:default")
    data = json.loads(re.search(r'application/json">(.*?)</script>', page, flags=re.S)[1])
    names = {PICTURE, "saliency:default", "hint-cut:default"}
    assert set(data["views"]) == {"coffee", "overlap-disk"} and set(data["names"]) == names
    for image, views in data["views"].items():
        assert set(views) == names and len({address for address, _ in views.values()}) == 3
        scores = rows[rows["image"] == image].set_index("method")["f_measure"]
        for name, (_, said) in views.items():
            assert said == ("" if name == PICTURE else f", F {scores[name.split(':')[0]]:.2f}")
    chosen = re.findall(r'<option value="([^"]*)" selected', page)
    assert chosen == [next(iter(data["views"])), PICTURE, "hint-cut:default"]
