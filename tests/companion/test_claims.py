"""Nothing of the paper is in no list; a claim is decided as its criterion says; the verdict shows what was decided."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
import yaml

from deepcv.companion import recorded, store, verdict
from deepcv.companion.claims import TOLERANCE, Claim, Estimate, Status, Verdict, near
from deepcv.companion.experiments import figure04, table2, table3
from deepcv.companion.verdict import cells

CLAIMS = tuple(verdict.claims())

ROOT = Path(__file__).parents[2]

PAPERS = {
    "Table 1": "table1",
    "Table 2": "table2",
    "Table 3": "table3",
    "Figure 1": "figure01",
    "Figure 3": "figure03",
    "Figure 4": "figure04",
    "Figure 5": "figure05",
    "Figure 6": "figure06",
    "Figure 7": "figure07",
    "Figure 8": "figure08",
    "Figure 9": "figure09",
    "Figure 10a": "figure10a",
    "Figure 10b": "figure10b",
}
"""The notebook of every table and figure with a result; Figure 2 is a diagram."""

WITHOUT_CLAIM = {"figure05"}
"""Pictures of which the paper says nothing beyond its tables."""

NOTEBOOKS = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}


@pytest.fixture(autouse=True)
def repository(monkeypatch):
    """The paper's numbers are those of the repository."""
    monkeypatch.setenv("DEEPCV_RESULTS", str(ROOT / "results"))


# -- nothing is left out -----------------------------------------------------------------------------------------------


def test_every_table_and_figure_has_its_notebook():
    assert set(PAPERS.values()) <= NOTEBOOKS


def test_every_notebook_is_a_page_of_the_book():
    parts = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())["parts"]
    pages = {chapter["file"] for part in parts for chapter in part["chapters"]}
    assert {page.removeprefix("notebooks/") for page in pages if page.startswith("notebooks/")} == NOTEBOOKS


def test_every_claim_names_a_notebook_and_every_table_and_figure_has_a_claim():
    named = {claim.notebook for claim in (*CLAIMS, *cells())}
    assert named <= NOTEBOOKS
    assert set(PAPERS.values()) <= named | WITHOUT_CLAIM


def test_every_printed_number_is_used_by_a_claim():
    files = {path.stem for path in (ROOT / "results" / "paper").glob("*.csv")}
    assert files == {claim.printed for claim in (*CLAIMS, *cells())} - {None}
    scores = [recorded.paper(f"table{number}").select_dtypes("number").size for number in (1, 2, 3)]
    assert scores == [10, 12, 16], "the cells of the paper's tables"
    assert len(cells()) == sum(scores)


def test_no_two_claims_have_the_same_name():
    names = [claim.id for claim in (*CLAIMS, *cells())]
    assert len(set(names)) == len(names)


# -- each claim is decided as its criterion says -----------------------------------------------------------------------

SURE = (0.05,) * 6
"""Differences over six images whose interval is above 0."""
UNSURE = (0.5, -0.4) * 3
"""The same mean, but an interval across 0."""
AROUND = (0.4, -0.4) * 3
NOTHING = (0.0,) * 6


def less(differences):
    return tuple(-each for each in differences)


def scored(scores, **columns):
    """Rows of a run: `scores` holds for each "method:preset" a score of each image."""
    rows = [
        {
            "dataset": "weizmann",
            "image": f"{image:02}",
            "method": name.partition(":")[0],
            "preset": name.partition(":")[2],
            "seed": 0,
            "profile": "cpu",
            "f_measure": score,
            "iou": score,
            "accuracy": score,
            "seconds": 1.0,
        }
        | columns
        for name, values in scores.items()
        for image, score in enumerate(values)
    ]
    return pd.DataFrame(rows)


OPPONENTS = ("chan-vese:default", "statistical:default", "normalized-cuts:regions", "double-dip:otsu")


def against(leads, opponents=OPPONENTS):
    """Table 1 with our F above each opponent's by these differences."""
    rows = scored({"deep-cv:default": [0.6] * 6} | {name: [0.6 - each for each in leads] for name in opponents})
    return rows.assign(regions=[2 if preset == "regions" else math.nan for preset in rows["preset"]])


def settings(paper, released):
    return scored({"deep-cv:paper": [paper] * 3, "deep-cv:released": [released] * 3})


def changed(reference, names, differences, solver="default"):
    """Variants of our model that change F by these differences."""
    given = {reference: [0.5] * 6} | {name: [0.5 + each for each in differences] for name in names}
    parts = [
        scored({f"deep-cv:{solver}": scores}, seed=seed, variant=name)
        for seed in (0, 1)
        for name, scores in given.items()
    ]
    return pd.concat(parts)


SKIPS = [f"skip, depth {depth}" for depth in (2, 3, 4, 5)]


def in_cases(modes, overlap, exact=0.2):
    """F of Chan-Vese 0.6 and ours above it by these differences, on composites of the two kinds."""
    parts = [
        scored({"deep-cv:default": [0.6 + each for each in leads], "chan-vese:default": [0.6] * len(leads)}).assign(
            image=lambda rows, kind=kind: kind + "-" + rows["image"]
        )
        for kind, leads in (("modes", modes), ("overlap", overlap))
    ]
    return pd.concat(
        [*parts, *(part[part["method"] == "chan-vese"].assign(preset="exact", f_measure=exact) for part in parts)]
    )


def chan_vese(saliency, exact):
    rows = in_cases(SURE, SURE, exact)
    return rows.assign(f_measure=rows["f_measure"].where(rows["preset"] == "exact", saliency))


def overlapping(modes, overlap):
    rows = in_cases(SURE, SURE)
    rows = rows[rows["method"] == "deep-cv"].assign(overlap_grey_truth=0.5)
    return rows.assign(overlap_latent_truth=[0.5 + each for each in (*modes, *overlap)])


def partitions(ours, theirs):
    """Mean IoU by image; normalized cuts with two counts, of which the one with more regions is the worse."""
    given = {"deep-cv:default": ours, "vese-chan:default": theirs, "vese-chan:clusters": theirs}
    counts = {3: theirs, 9: [0.0] * len(theirs)}
    parts = [scored({"normalized-cuts:regions": scores}, regions=count) for count, scores in counts.items()]
    rows = pd.concat([scored(given, regions=math.nan), *parts], ignore_index=True)
    return rows.assign(mean_iou_matched=rows["f_measure"], adjusted_rand_index=rows["f_measure"])


def latent(quantity, differences):
    grey = {"f_measure": 0.5, f"{quantity}_grey_truth": 1.0}
    rows = scored({"deep-cv:default": [0.5] * 6}, **grey)
    return rows.assign(**{f"{quantity}_latent_truth": [1 + each for each in differences]})


def noisy(kept):
    """F without noise 1; with it what is left by method and clipping."""
    rows = [scored({name: [1.0] * 3 for name, _ in kept}, sigma=0, clipped=True)]
    rows += [
        scored({name: [share] * 3}, sigma=sigma, clipped=clipping == "clipped")
        for (name, clipping), share in kept.items()
        for sigma in (100, 160)
    ]
    return pd.concat(rows)


def kept(*shares):
    names = ("chan-vese:default", "statistical:default", "double-dip:otsu")
    return noisy({(name, clipping): share for name, share in zip(names, shares, strict=False)
                  for clipping in ("clipped", "unclipped")})  # fmt: skip


def ours_kept(clipped, unclipped):
    return noisy({("deep-cv:default", "clipped"): clipped, ("deep-cv:default", "unclipped"): unclipped})


def course(**columns):
    given = {"rise_mean": 0.0, "energy_1": 1.0, "energy_last": 0.5, "f_0": 0.5, "f_last": 0.6}
    return scored({"deep-cv:default": [0.5] * 6}).assign(**given | columns)


def timed(double_dip, ours, ours_paper):
    """Seconds of an image at 64 and 128 pixels a side; each contender by seconds at 64 and exponent."""
    rows = []
    for image, noise in (("a", 1.0), ("b", 1.01)):
        for side in (64, 128):
            given = {"double_dip": double_dip, "ours": ours, "ours_paper": ours_paper}
            seconds = {name: noise * at_64 * (side / 64) ** (2 * p) for name, (at_64, p) in given.items()}
            rows.append({"image": image, "pixels": side, "seed": 0} | seconds)
    return pd.DataFrame(rows)


def checked(check, **numbers):
    """Rows of the theory's check, a row for each value of its numbers."""
    given = {"falls": 1, "decrease": 1, "decrease_c0": 1, "relative": 1, "relative_c1": 1, "tail": 0.1}
    given |= {"z_printed": 70, "z_entropy": 1}
    lacking = ("z", "z_binary", "z_between", "deviation", "excess", "sharpening")
    columns = dict.fromkeys(lacking, math.nan) | given
    return pd.DataFrame(numbers).assign(
        check=check, image="coins", **{name: value for name, value in columns.items() if name not in numbers}
    )


def flowers(ours, theirs, name, splits=("train", "test")):
    both = {"amortized:default": [0.6 + each for each in ours], f"{name}:default": [0.6 + each for each in theirs]}
    return pd.concat([scored(both, dataset="flowers17", split=split, side=64, chosen="last") for split in splits])


def seconds(ours, chan_vese):
    rows = flowers(NOTHING, NOTHING, "chan-vese")
    return rows.assign(network_128=ours, chan_vese_128=chan_vese)


def constrained(differences):
    """What the constraints change of a network's mIoU, from seed to seed."""
    names = ("none", "AuI", "CRI", "AuI+CRI")
    return pd.concat(
        scored(
            {"amortized:paper": [0.6 + (name != "none") * each]},
            dataset="flowers17",
            split="test",
            side=32,
            seed=seed,
            constraints=name,
        )
        for seed, each in enumerate(differences)
        for name in names
    )


def collapses(none, both):
    constraints = ["none"] * 2 + ["AuI+CRI"] * 2
    collapsed = [*none, *both]
    return pd.DataFrame({"preset": "paper", "constraints": constraints, "seed": [0, 1] * 2, "collapsed": collapsed})


CASES = {
    "figure01/chan-vese-fails": (chan_vese(0.4, 0.6), chan_vese(0.6, 0.2), chan_vese(0.6, 0.6)),
    "figure01/better": (in_cases(SURE, SURE), in_cases(SURE, less(SURE)), in_cases(less(SURE), less(SURE))),
    "figure01/simplified": (
        overlapping(less(SURE), less(SURE)),
        overlapping(less(SURE), SURE),
        overlapping(SURE, SURE),
    ),
    "figure04/satisfactory": tuple(
        partitions(ours, [0.5] * 4) for ours in ([0.8] * 4, [0.8, 0.8, 0.8, 0.7], [0.7] * 4)
    ),
    "figure04/better": tuple(
        partitions([0.5 + each for each in leads], [0.5] * 6) for leads in (SURE, UNSURE, less(SURE))
    ),
    "theory/closed-form": (
        checked("elbo", z=[0.5, 2.9]),
        checked("elbo", z=[0.5, 3.1]),
        checked("elbo", z=[4.0, 5.0]),
    ),
    "theory/dataset-elbo": (
        checked("dataset", z_binary=[0.5, 2.9], z_between=[0.5, 2.9]),
        checked("dataset", z_binary=[0.5, 2.9], z_between=[0.5, 400.0]),
        checked("dataset", z_binary=[3.1, 5.0], z_between=[0.5, 400.0]),
    ),
    "theory/shrinkage": (
        checked("shrinkage", deviation=[-8.0, -7.0], excess=[-16.0, -14.0]),
        checked("shrinkage", deviation=[-8.0, -7.0], excess=[-16.0, -3.0]),
        checked("shrinkage", deviation=[-2.0, -1.0], excess=[-16.0, -16.0]),
    ),
    "theory/convergence": (
        checked("descent", falls=[1.0, 1.0]),
        checked("descent", falls=[1.0, 0.99]),
        checked("descent", tail=[0.6, 0.7]),
    ),
    "theory/relative-error": (
        checked("descent", relative=[0.9, 1.0]),
        checked("descent", relative=[0.9, 1.2]),
        checked("descent", relative=[1.1, 1.2]),
    ),
    "choices/unit-variance": tuple(changed("default", ["learned variance"], each) for each in (NOTHING, AROUND, SURE)),
    "table1/printed-settings": (settings(0.86, 0.5), settings(0.5, 0.86), settings(0.5, 0.5)),
    "table1/best": (against(SURE), against(UNSURE), against(less(SURE))),
    "table1/better-than-chan-vese": (against(SURE), against([0.01] * 6), against(UNSURE)),
    "figure03/more-accurate": (against(SURE), against([0.1, 0.1, 0.1, 0.1, -0.1, -0.1]), against(less(SURE))),
    "table2/better-than-chan-vese": tuple(
        flowers(each, NOTHING, "chan-vese") for each in ([0.3] * 6, SURE, less(SURE))
    ),
    "ambiguities/guided-filter": tuple(
        changed("paper", ["no guided filter"], each, "paper") for each in (less(SURE), less(UNSURE), SURE)
    ),
    "table2/better-than-redo": tuple(flowers(each, NOTHING, "redo") for each in (SURE, UNSURE, less(SURE))),
    "table2/faster": (seconds(0.02, 1.95), seconds(0.02, 0.2), seconds(0.02, 0.01)),
    "table3/little-influence": tuple(constrained(each) for each in (NOTHING, AROUND, SURE)),
    "table3/prevent-collapse": (
        collapses([1, 0], [0, 0]),
        collapses([1, 1], [1, 0]),
        collapses([1, 0], [1, 0]),
    ),
    "figure06/stable": tuple(changed("U-Net", SKIPS, each) for each in (NOTHING, AROUND, SURE)),
    "figure08/contrast": tuple(latent("contrast", each) for each in (SURE, UNSURE, less(SURE))),
    "figure08/more-gaussian": tuple(latent("distance", each) for each in (less(SURE), less(UNSURE), SURE)),
    "figure07/opponents-fail": (kept(0.3, 0.4, 0.1), kept(0.9, 0.9, 0.1), kept(0.9, 0.9, 0.9)),
    "figure07/ours-holds": (ours_kept(0.9, 0.8), ours_kept(0.9, 0.7), ours_kept(0.7, 0.7)),
    "figure09/dissipation": (course(), course(rise_mean=0.5), course(rise_mean=0.5, energy_last=1.5)),
    "figure09/improving": (
        course(),
        course(f_last=[0.5 + each for each in UNSURE]),
        course(f_last=0.4),
    ),
    "figure10a/one-sample": tuple(changed("1 sample", ["4 samples"], each) for each in (NOTHING, AROUND, SURE)),
    "figure10b/less-time": (
        timed((10, 1), (1, 1), (2, 1)),
        timed((10, 1), (1, 1), (20, 1)),
        timed((10, 1), (20, 1), (20, 1)),
    ),
    "figure10b/grows-less": (
        timed((10, 1.5), (1, 1), (1, 1)),
        timed((10, 1.5), (1, 1), (1, 2)),
        timed((10, 1), (1, 1.5), (1, 1.5)),
    ),
    "figure10b/ratio": (
        timed((20, 1), (0.1, 1), (1, 1)),
        timed((20, 1), (0.1, 1), (20, 1)),
        timed((20, 1), (20, 1), (20, 1)),
    ),
}
"""Made-up rows for which each claim is reproduced, partly, not reproduced."""


def test_every_claim_has_made_up_rows():
    assert set(CASES) == {claim.id for claim in CLAIMS}


@pytest.mark.parametrize("status", [Status.REPRODUCED, Status.PARTLY, Status.NOT])
@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_is_decided_by_rows(claim, status):
    rows = CASES[claim.id][[Status.REPRODUCED, Status.PARTLY, Status.NOT].index(status)]
    found = claim.decide(rows)
    assert found.status == status
    assert found.evidence.endswith(".") and "nan" not in found.evidence
    assert found.numbers


def test_where_nothing_collapses_there_is_nothing_to_prevent():
    found = table3.constraints_prevent_collapse(collapses([0, 0], [0, 0]))
    assert found.status == Status.NOT_RUN and "nothing to prevent" in found.evidence
    assert table3.constraints_prevent_collapse(collapses([0, 0], [1, 0])).status == Status.NOT


def test_what_the_papers_own_algorithm_does_stands_beside_and_decides_nothing():
    rows = flowers([0.3] * 6, NOTHING, "redo")
    own = rows[rows["method"] == "amortized"].assign(preset="paper", accuracy=0.1, iou=0.1)
    alone, beside = (table2.flowers_ahead(each, theirs="redo") for each in (rows, pd.concat([rows, own])))
    assert alone.status == beside.status == Status.REPRODUCED
    assert "Not judged" not in alone.evidence and "test mIoU -0.500" in beside.evidence
    rows = partitions([0.8] * 4, [0.5] * 4)
    own = rows[rows["preset"] == "clusters"].assign(method="deep-cv", preset="paper", mean_iou_matched=0.1)
    beside = figure04.better_partitions(pd.concat([rows, own]))
    assert beside.status == Status.REPRODUCED
    assert "Algorithm 2 from a random start, reduced, has 0.100" in beside.evidence


def test_an_interval_that_tells_nothing_is_called_so():
    assert "too wide" in table3.constraints_matter_little(constrained((0.4, -0.2))).evidence
    assert "too wide" not in table3.constraints_matter_little(constrained(SURE)).evidence


@pytest.mark.parametrize("claim", (*CLAIMS, *cells()), ids=lambda claim: claim.id)
def test_what_is_not_recorded_is_not_yet_run(claim, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    monkeypatch.setattr(store, "_REPOSITORY", tmp_path / "none")
    ((_, found),) = verdict.decide([claim])
    assert found.status == Status.NOT_RUN
    assert claim.run in found.evidence


@pytest.mark.parametrize("claim", cells(), ids=lambda claim: claim.id)
def test_a_printed_score_is_held_against_the_right_rows(claim):
    """Rows with the printed score for this cell alone, another one everywhere else."""
    table, name, *split, score = claim.id.split("/")
    presets = {"normalized-cuts": "regions", "double-dip": "otsu"}
    ours = f"{name}:{presets.get(name, 'default')}"
    conditions = {"regions": 3.0}
    if split:
        conditions = {"dataset": "flowers102", "split": split[0], "side": 128, "chosen": "last"}
    if table == "table3":
        ours, conditions = "amortized:paper", conditions | {"constraints": name}
    others = {each: {"regions": math.nan, "constraints": ""}.get(each, value) for each, value in conditions.items()}
    parts = [scored({ours: [0.1, 0.1]}, **conditions), scored({"another:default": [0.1, 0.1]}, **others)]
    rows = pd.concat(parts, ignore_index=True)
    score = f"{score}_oracle" if split else score
    rows = rows.assign(**{score: 0.1})
    rows.loc[rows["method"] != "another", score] = float(claim.value)
    assert claim.decide(rows).status == Status.REPRODUCED
    assert claim.decide(rows.assign(**{score: 0.1})).status == Status.NOT
    assert claim.decide(rows[rows["method"] == "another"]).status == Status.NOT_RUN
    if split:
        on_others = claim.decide(rows.assign(dataset="flowers17"))
        assert on_others.status == Status.NOT_RUN and "the paper's are Flowers-102" in on_others.evidence
        other_split, validated = (
            claim.decide(rows.assign(**each)) for each in ({"split": "val"}, {"chosen": "validation"})
        )
        assert not other_split.numbers and not validated.numbers


def test_a_score_is_near_by_its_mean_and_partly_near_by_its_interval():
    sure, unsure = pd.Series([0.8, 0.8, 0.8]), pd.Series([0.6, 0.8, 1.0])
    assert near(sure, 0.8 + TOLERANCE).status == Status.REPRODUCED
    assert near(sure, 0.8 + 2 * TOLERANCE).status == Status.NOT
    assert near(unsure, 0.8 + 2 * TOLERANCE).status == Status.PARTLY


def test_an_opponent_that_is_not_yet_run_leaves_it_at_partly():
    claims = {claim.id: claim for claim in CLAIMS}
    for name in ("table1/best", "figure03/more-accurate"):
        found = claims[name].decide(against(SURE, OPPONENTS[:-1]))
        assert found.status == Status.PARTLY
        assert "Not yet run: Double-DIP [18], surer hint." in found.evidence


def test_flowers_that_are_not_the_papers_are_named():
    (claim,) = (claim for claim in CLAIMS if claim.id == "table2/better-than-redo")
    rows = flowers(SURE, NOTHING, "redo")
    assert "On flowers17 at 64 pixels; the paper's are Flowers-102 at 128 pixels." in claim.decide(rows).evidence
    papers = rows.assign(dataset="flowers102")
    assert "Flowers" not in claim.decide(papers).evidence


def test_seeds_of_an_image_are_averaged_first():
    rows = pd.concat([against(SURE).assign(seed=seed) for seed in range(3)])
    (claim,) = (claim for claim in CLAIMS if claim.id == "table1/better-than-chan-vese")
    assert claim.decide(rows).numbers["lead"].images == 6


# -- the verdict shows what was decided --------------------------------------------------------------------------------


def _decided():
    claim = {"section": "5 <b>", "test": "a & b", "decide": None}
    told = {"ours": Estimate(0.5, 0.4, 0.6, 10), "printed": 0.5}
    return [
        (Claim(id="table1/a", says="a < b", value="0.50", **claim), Verdict(Status.REPRODUCED, "0.5.", told)),
        (Claim(id="table2/b", says="b", value="0.70", **claim), Verdict(Status.NOT_RUN, "Nothing.")),
    ]


def test_the_text_has_every_claim_and_fits_the_width():
    text = verdict.as_text(_decided(), 60)
    assert text.splitlines()[0] == "1 reproduced, 0 partly, 0 not reproduced, 1 not yet run"
    assert "✔ reproduced      table1/a: a < b" in text and "○ not yet run     table2/b: b" in text
    assert max(map(len, text.splitlines())) <= 60


def test_the_json_has_every_number():
    first, second = json.loads(verdict.as_json(_decided()))
    assert (first["id"], first["notebook"], first["status"]) == ("table1/a", "table1", "reproduced")
    assert first["numbers"]["ours"] == {"mean": 0.5, "low": 0.4, "high": 0.6, "images": 10}
    assert second["numbers"] == {}


def test_the_pages_block_escapes_what_it_shows_and_links_to_each_claims_page():
    html = verdict.as_html(_decided())
    assert "5 &lt;b&gt;" in html and "a &amp; b" in html and "a &lt; b" in html
    assert '<a href="table1.html">table1</a>' in html and '<a href="table2.html">table2</a>' in html
    assert "✔ reproduced" in html and "○ not yet run" in html, "told in words, too"


def test_the_table_shows_every_printed_number_and_the_plot_those_that_were_run():
    decided = _decided()
    table = verdict.table(decided).data
    assert table["printed"].tolist() == ["0.50", "0.70"] and table["ours"].iloc[1] == "–"
    (axis,) = verdict.plot(decided).axes
    diamonds = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "D"]
    assert diamonds == [0.5]


def test_recorded_runs_are_decided_without_an_error_and_as_json_can_hold():
    decided = verdict.decide()
    assert len(decided) == len(CLAIMS) + len(cells())
    for each in json.loads(verdict.as_json(decided)):
        for number in each["numbers"].values():
            assert all(map(math.isfinite, number.values() if isinstance(number, dict) else [number])), each["id"]
