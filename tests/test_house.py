"""How the package is built: who may import whom, and where."""

import ast
import graphlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import deepcv

ROOT = Path(deepcv.__file__).parent
MODULES = {
    ".".join((ROOT.name, *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
LONGEST = 500

HEAVY = {
    *("cv2", "dask", "distributed", "IPython", "ipywidgets", "joblib", "lightning_fabric", "matplotlib", "networkx"),
    *("numpy", "onnx", "onnxruntime", "pandas", "PIL", "pillow_heif", "pooch", "pydicom", "requests", "scipy"),
    *("skimage", "sklearn", "tifffile", "torch", "tqdm", "urllib3"),
}
"""Libraries that may be imported inside a function, because their import takes long or they belong to an extra."""


def imports_of(module):
    """Pairs of an import statement of a module and the function that it stands in, None at the top."""
    pending = [(node, None) for node in TREES[module].body]
    while pending:
        node, function = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, function
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        pending += [(child, function) for child in ast.iter_child_nodes(node)]


def targets(module, statement):
    """The modules, of this package or others, that an import statement of a module names."""
    if isinstance(statement, ast.Import):
        return {alias.name for alias in statement.names}
    source = statement.module or ""
    if statement.level:
        package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
        above = package.split(".")[: len(package.split(".")) - statement.level + 1]
        source = ".".join([*above, *filter(None, [statement.module])])
    inner = {f"{source}.{alias.name}" for alias in statement.names}
    return {name if name in MODULES else source for name in inner}


def imported_by(module):
    return {target for statement, _ in imports_of(module) for target in targets(module, statement)}


def test_no_modules_import_each_other():
    graph = {name: (imported_by(name) & MODULES.keys()) - {name} for name in MODULES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("module", MODULES)
def test_functions_import_heavy_libraries_alone(module):
    """The command line may also import this package late, so that its help and its completions come at once."""
    allowed = HEAVY | ({"deepcv"} if module.startswith("deepcv.cli.") else set())
    late = {
        f"{target} in {function}"
        for statement, function in imports_of(module)
        for target in targets(module, statement)
        if function and target.partition(".")[0] not in allowed
    }
    assert not late


def test_the_companion_is_imported_by_itself_and_the_command_line_alone():
    inside = ("deepcv.companion", "deepcv.cli")
    assert not {
        name
        for name in MODULES
        if not name.startswith(inside) and any(target.startswith(inside[0]) for target in imported_by(name))
    }


def test_modules_are_not_found_by_name():
    assert not {name for name, tree in TREES.items() if "import_module(" in ast.unparse(tree)}


def test_no_file_is_long():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST}


def test_notebooks_have_no_outputs(repository):
    notebooks = sorted((repository / "notebooks").glob("*.ipynb"))
    assert notebooks
    cells = {path.name: json.loads(path.read_text(encoding="utf-8"))["cells"] for path in notebooks}
    run = {name for name in cells for cell in cells[name] if cell.get("outputs") or cell.get("execution_count")}
    assert not run


def test_importing_the_package_loads_no_library():
    code = "import sys, deepcv; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)
