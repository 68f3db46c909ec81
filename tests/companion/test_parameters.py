"""What papermill gives a notebook: lists as text, names that nothing reads, and what a reader sees of an error."""

from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from papermill.cli import _resolve_type
from papermill.inspection import inspect_notebook
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from traitlets.config import Config

from deepcv.companion import store
from deepcv.companion.experiments import choices, readings, table1
from deepcv.companion.experiments.figure07 import Settings
from deepcv.errors import InputError

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("deep-cv,grabcut", ("deep-cv", "grabcut")),
        ("deep-cv, grabcut:default", ("deep-cv", "grabcut:default")),
        ("saliency", ("saliency",)),
        ("[saliency, grabcut]", ("saliency", "grabcut")),
        ('["saliency", "grabcut"]', ("saliency", "grabcut")),
        ("['saliency']", ("saliency",)),
        (["saliency", "grabcut"], ("saliency", "grabcut")),
    ],
)
def test_names_are_understood_as_text_or_list(given, expected):
    assert Settings(methods=given).methods == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [("0,1", (0, 1)), ("1", (1,)), ("[0, 2]", (0, 2)), ("(3, 4)", (3, 4)), ("[5]", (5,)), (7, (7,)), ([1, 2], (1, 2))],
)
def test_numbers_are_understood_as_text_or_list_or_one_number(given, expected):
    for asked in (given, _resolve_type(given) if isinstance(given, str) else given):
        settings = Settings(seeds=asked, sigmas=asked)
        assert settings.seeds == settings.sigmas == expected


def test_a_name_with_a_comma_is_taken_from_a_list_in_quotes():
    name = "networks at 1e-1, warm-up"
    assert readings.Settings(variants=f'["{name}"]').variants == (name,)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"seeds": "0,one"}, "an entry of seeds is 'one'; it must be a whole number"),
        ({"seeds": "0.5"}, "an entry of seeds is '0.5'; it must be a whole number"),
        ({"seeds": 0.5}, "an entry of seeds is 0.5; it must be a whole number"),
        ({"seeds": ""}, "there is no seed"),
        ({"methods": ","}, "methods is empty; name at least one"),
        ({"methods": "deep-cv,watershed"}, "no method 'watershed'"),
        ({"methods": 3}, "an entry of methods is 3; it must be a string"),
    ],
)
def test_what_no_list_can_be_made_of_is_named(given, says):
    with pytest.raises(InputError, match=says):
        table1.Settings(**given)


# in the notebooks


def run(path, **parameters):
    """Run a notebook's cells, as papermill would write them, until one raises."""
    notebook = parameterize_notebook(load_notebook_node(str(path)), parameters)
    namespace = {"In": [""]}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            namespace["In"].append(cell.source)
            exec(cell.source, namespace)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_refuses_an_unknown_profile_or_name_before_it_computes(path, tmp_path, monkeypatch):
    """Where nothing is recorded, so that there is nothing to show before."""
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    monkeypatch.setattr(store, "_REPOSITORY", tmp_path)
    with pytest.raises(InputError, match=r"^there is no profile 'fast'; there are quick, cpu, paper$"):
        run(path, **dict.fromkeys(inspect_notebook(str(path))) | {"profile": "fast"})
    with pytest.raises(
        InputError, match=r"^there is no parameter 'profle'; did you mean profile\? This notebook takes .*profile"
    ):
        run(path, profle="quick")


def test_the_closest_parameter_is_named(repository):
    with pytest.raises(InputError, match=r"'n_imges'; did you mean n_images\?"):
        run(repository / "notebooks" / "table1.ipynb", profile="quick", n_imges=3)


def test_of_what_papermill_gave_the_last_counts_and_its_own_names_are_let_be():
    first, last = 'profle = "quick"', 'PAPERMILL_INPUT_PATH = "a.ipynb"\nvariants = "default"'
    cells = ["", f"# Parameters\n{first}\n", f"# Parameters\n{last}\n"]
    given = {"In": cells, "profile": "quick", "variants": "default", "profle": "quick", "rows": 3}
    assert choices.Settings.from_notebook(given) == choices.Settings(variants=["default"])


def test_a_notebook_shows_the_sentence_alone(tmp_path, capsys):
    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}), ipython_dir=str(tmp_path))
    shell.run_cell("from deepcv.errors import InputError\nraise InputError('size is 3; it must be more')")
    assert capsys.readouterr().out.strip() == "size is 3; it must be more"
