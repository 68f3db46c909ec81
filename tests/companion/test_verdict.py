"""The verdict shows what was decided."""

import dataclasses
import json
import math

from deepcv.companion import verdict
from deepcv.companion.claims import Claim, Estimate, Status, Verdict


def _decided():
    claim = {"section": "5 <b>", "test": "a & b", "decide": None}
    told = {"ours": Estimate(0.5, 0.4, 0.6, 10), "printed": 0.5}
    ran, not_run = Verdict(Status.REPRODUCED, "0.5.", told), Verdict(Status.NOT_RUN, "Nothing.")
    return [
        (Claim(id="table1/a", says="a < b", value="0.50", **claim), {"paper": not_run, "default": ran}),
        (
            Claim(id="table2/b", says="b", value="0.70", ours={}, set_after=True, **claim),
            {"others": Verdict(Status.UNDECIDED, "Not sure.")},
        ),
    ]


def test_the_text_counts_each_column_has_every_claim_and_fits_the_width():
    text = verdict.as_text(_decided(), 100)
    assert text.splitlines()[:3] == [
        "0 reproduced, 0 partly, 0 not reproduced, 0 undecided, 1 not yet run: the paper's algorithm",
        "1 reproduced, 0 partly, 0 not reproduced, 0 undecided, 0 not yet run: this package's default",
        "0 reproduced, 0 partly, 0 not reproduced, 1 undecided, 0 not yet run: opponents and proofs",
    ]
    assert "table1/a: a < b (paper, 5 <b>)\n○ not yet run     The paper's algorithm: Nothing.\n" in text
    assert "✔ reproduced      This package's default: 0.5." in text
    assert "? undecided       Not sure." in text
    assert max(map(len, verdict.as_text(_decided(), 60).splitlines())) <= 60


def test_the_counts_of_a_column_are_those_of_its_claims():
    decided = _decided()
    table = verdict.counts({"some": decided, "none": []})
    assert len(table) == 6 and (table.xs("none", level=1) == 0).all(axis=None)
    for column, title in verdict.COLUMNS.items():
        claims = [verdicts for _, verdicts in decided if column in verdicts]
        assert table.loc[(title, "some")].sum() == len(claims)


def test_no_claim_is_no_claim():
    assert verdict.decide([]) == []


def test_the_json_has_every_number_of_every_column():
    first, second = json.loads(verdict.as_json(_decided()))
    assert (first["id"], first["notebook"], first["set_after"]) == ("table1/a", "table1", False)
    assert first["paper"]["status"] == "not yet run" and first["paper"]["numbers"] == {}
    assert first["default"]["numbers"]["ours"] == {"mean": 0.5, "low": 0.4, "high": 0.6, "images": 10}
    assert second["others"]["status"] == "undecided" and second["paper"] is second["default"] is None


def test_the_pages_block_escapes_what_it_shows_and_links_to_each_claims_page():
    html = verdict.as_html(_decided())
    assert "5 &lt;b&gt;" in html and "a &amp; b" in html and "a &lt; b" in html
    assert '<a href="table1.html">table1</a>' in html and '<a href="table2.html">table2</a>' in html
    assert "<b>✔ reproduced</b> · this package" in html and "<b>? undecided</b><div" in html, "told in words, too"
    assert html.count("set before its rows were seen") == html.count("after rows had been seen") == 1


def test_the_overview_has_a_row_for_each_wording_and_each_status_links_to_its_block():
    decided = _decided()
    again = (dataclasses.replace(decided[0][0], id="table3/a"), {"paper": Verdict(Status.NOT, "No.")})
    table, blocks = verdict.overview([*decided, again]).data, verdict.as_html([*decided, again])
    assert len(table) == 2 and "<a" not in "".join(table.index)
    assert table["the paper's algorithm"].tolist() == ['<a href="#table3-a">✘ not reproduced</a>', ""]
    assert table["opponents and proofs"].tolist() == ["", '<a href="#table2-b">? undecided</a>']
    assert table["this package's default"].tolist() == ['<a href="#table1-a">✔ reproduced</a>', ""]
    assert all(f'id="{anchor}"' in blocks for anchor in ("table1-a", "table2-b", "table3-a"))


def test_the_table_shows_every_printed_number_and_the_plot_those_that_were_run():
    decided = _decided()
    table = verdict.table(decided).data
    assert table["printed"].tolist() == ["0.50", "0.70"]
    assert table["the paper's algorithm"].tolist() == ["○ not yet run<br>–", ""]
    assert table["opponents and proofs"].tolist() == ["", "? undecided<br>–"]
    assert table["this package's default"].tolist() == ["✔ reproduced<br>0.500 (0.400 to 0.600)", ""]
    (axis,) = verdict.plot(decided).axes
    diamonds = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "D"]
    assert diamonds == [0.5]


def test_recorded_runs_are_decided_without_an_error_and_as_json_can_hold():
    decided = verdict.decide()
    assert len(decided) == len(verdict.claims()) + len(verdict.cells())
    for each in json.loads(verdict.as_json(decided)):
        for column in verdict.COLUMNS:
            for number in each[column]["numbers"].values() if each[column] else ():
                assert all(map(math.isfinite, number.values() if isinstance(number, dict) else [number])), each["id"]
