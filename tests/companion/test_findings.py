"""The finding of each page is written from the recorded rows, and follows them."""

import pytest

from deepcv.companion import timings
from deepcv.companion.experiments import EXPERIMENTS
from deepcv.companion.findings import FINDINGS, finding
from deepcv.companion.recorded import full_run
from deepcv.errors import InputError


def test_every_experiment_has_a_finding_but_the_playground():
    assert {*EXPERIMENTS} - {*FINDINGS} == {"playground"}


@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_follows_the_rows(name):
    """Numbers of other rows make another sentence."""
    rows = timings.recorded("benchmark")[0] if name == "speed" else full_run(EXPERIMENTS[name].rows_of or name)
    if rows.empty:
        pytest.skip("nothing is recorded yet")
    images = rows["image"].unique()
    rows = rows[rows["image"].isin(images[:: max(1, len(images) // 12)])]
    numbers = rows.select_dtypes("float").columns
    others = rows.assign(**{each: 0.4 * rows[each] + 0.1 * (rows.index % 7) for each in numbers if each != "sigma"})
    said, otherwise = FINDINGS[name](rows), FINDINGS[name](others)
    assert said != otherwise
    for sentence in (said, otherwise):
        assert sentence.endswith(".") and "nan" not in sentence.split()


def test_a_page_shows_its_claims_with_their_statuses():
    shown = finding("figure10a").html
    assert shown.startswith("<p><b>The finding.</b> ")
    assert '<li><a href="verdict.html#figure10a-one-sample">' in shown and "by this package's default" in shown
    assert "<li>" not in finding("ladder").html
    with pytest.raises(InputError, match="no page 'figure2'"):
        finding("figure2")
