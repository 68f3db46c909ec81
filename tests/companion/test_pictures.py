"""Figures are written whole, the same each time."""

import os

import pytest

from deepcv.companion import pictures
from deepcv.errors import InputError


def test_a_figure_is_saved_for_print_and_for_the_screen_and_given_back(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    folder = tmp_path

    def drawn():
        figure = Figure(figsize=(2, 1))
        figure.subplots().set_xlabel("σ of the noise")
        return figure

    figure = drawn()
    assert pictures.saved(figure, "figure07") is figure
    svg, png = ((folder / "figures" / f"figure07.{kind}").read_bytes() for kind in ("svg", "png"))
    assert "σ of the noise" in svg.decode() and png.startswith(b"\x89PNG")
    pictures.saved(drawn(), "figure07")
    assert (folder / "figures" / "figure07.svg").read_bytes() == svg, "the same figure, the same file"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"No space left on device.*make room"):
        pictures.saved(figure, "another")
    kinds = {path.suffix for path in (folder / "figures").iterdir() if path.stem == "figure07"}
    assert kinds == {".svg", ".png", ".csv"} and not list((folder / "figures").glob("another.*"))


def test_a_table_is_written_as_csv_and_shown_under_its_name(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    table = pandas.DataFrame({"F": [0.12345, None]}, index=["ours", "theirs"])
    for given in (table, pictures.compact(table.style.format(precision=3, na_rep="–"))):
        shown = pictures.tabled(given, "table1-paired").to_html()
        assert '<table id="T_table1-paired" class="results"' in shown
        assert ">0.123</td>" in shown and ">–</td>" in shown
        csv = pandas.read_csv(tmp_path / "figures" / "table1-paired.csv", index_col=0)
        assert csv["F"].tolist()[0] == 0.12345
