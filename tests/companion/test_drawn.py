"""What a figure draws stands in its file of numbers."""

import matplotlib
import numpy as np

from deepcv.companion.drawn import drawn


def test_marks_of_every_kind_are_listed():
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, 4)
    axes[0].errorbar([0.5, 0.75, np.nan], [0.12, 1, 0], xerr=[[0.25, 0.5, 1], [0.125, 0.125, 1]], label="F")
    axes[0].set(title="scores", yticks=[0, 1], yticklabels=["ours", "theirs"])
    axes[0].axvline(0.1)
    axes[1].plot([1, 2], [3, 4])
    axes[2].errorbar(["first", "end"], [0.5, 0.25], yerr=0.125, label="course")
    axes[1].scatter([5], [6], label="points")
    axes[1].barh([7], [8])
    axes[1].hist([0, 0, 1], [0, 1, 2], histtype="step", label="histogram")
    axes[3].imshow(np.eye(2))
    table = drawn(axes[0].figure)
    assert list(table.columns) == ["panel", "series", "x", "y", "low", "high", "value"]
    first = table[table["series"] == "F"]
    assert first[["panel", "x", "y", "low", "high"]].values.tolist() == [
        ["scores", 0.5, "ours", 0.25, 0.625],
        ["scores", 0.75, "theirs", 0.25, 0.875],
    ]
    assert table[table["series"] == "points"][["x", "y"]].values.tolist() == [[5, 6]]
    assert table[table["series"] == "course"][["x", "low"]].values.tolist() == [["first", 0.375], ["end", 0.125]]
    assert [8, 7] in table[["high", "y"]].values.tolist() and [2, 4] in table[["x", "y"]].values.tolist()
    assert [1, 2] in table[table["series"] == "histogram"][["x", "y"]].values.tolist()
    assert table["value"].dropna().tolist() == [1, 0, 0, 1]
    assert table["panel"].tolist().count("scores") == 2, "a line that crosses the panel is no number"


def test_pictures_in_a_grid_are_named_by_row_and_column():
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2)
    for axis in axes.ravel():
        axis.imshow(np.zeros((30, 30, 3)))
    axes[0, 1].set_title("ours")
    axes[1, 0].set_ylabel("coffee")
    axes[1, 1].set_xlabel("F 0.93")
    assert drawn(figure).values.tolist() == [["coffee, ours", "F 0.93"]]
