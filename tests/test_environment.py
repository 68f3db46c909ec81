"""The files that say what to install agree with each other and with what the code imports."""

import ast
import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

yaml = pytest.importorskip("yaml", reason="environment.yml is read with PyYAML; install the extra `dev`")

PIP_NAME = {"pytorch": "torch"}
"""conda-forge's names, where they are not PyPI's."""

OPTIONAL = {
    *("matplotlib", "ipywidgets", "dask", "distributed", "lightning-fabric", "onnx", "onnxruntime"),
    *("napari", "pillow-heif", "pydicom"),
}
"""Extras that the package may import, inside a function or a module that needs them."""


@pytest.fixture(scope="module")
def project(repository):
    with open(repository / "pyproject.toml", "rb") as file:
        return tomllib.load(file)["project"]


@pytest.fixture(scope="module")
def lock(repository):
    """The pins that hold on this machine."""
    pins = [pin for pin, _ in locked(repository) if pin.marker is None or pin.marker.evaluate()]
    return {canonicalize_name(pin.name): pin for pin in pins}


def locked(repository, name="requirements.lock"):
    """Each pin of a lock and the hashes of its files."""
    blocks = re.findall(r"^[^#\s].*\n(?:    .*\n)*", (repository / name).read_text(), re.MULTILINE)
    for block in blocks:
        pin, *hashes = block.replace("\\\n", "").split("--hash=sha256:")
        yield Requirement(pin.strip()), [each.strip() for each in hashes]


@pytest.fixture(scope="module")
def environment(repository):
    return yaml.safe_load((repository / "environment.yml").read_text())


@pytest.fixture(scope="module")
def conda_lines(environment):
    return [line for line in environment["dependencies"] if isinstance(line, str)]


@pytest.fixture(scope="module")
def pip_lines(environment):
    (section,) = [line for line in environment["dependencies"] if isinstance(line, dict)]
    return section["pip"]


def direct(project, *extras):
    lines = project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [Requirement(line) for line in lines]


def pinned(requirement):
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", f"{requirement} is no pin"
    return Version(specifier.version)


def test_the_lock_pins_everything_once_and_nothing_from_elsewhere(repository, lock):
    pins = [pin for pin, _ in locked(repository)]
    assert len({canonicalize_name(pin.name) for pin in pins}) == len(pins) >= len(lock) > 100
    for requirement in pins:
        assert requirement.url is None
        assert pinned(requirement).local is None, f"{requirement} asks for one machine's build"


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-cpu.lock", "requirements-cuda.lock"])
def test_the_locks_take_no_file_without_a_hash(repository, name):
    for pin, hashes in locked(repository, name):
        assert hashes and all(re.fullmatch("[0-9a-f]{64}", each) for each in hashes), pin


def test_builds_for_one_kind_of_gpu_are_locked_by_themselves(repository, lock):
    assert not [name for name in lock if name.startswith(("nvidia", "cuda", "triton")) or name == "torchvision"]
    ((cpu, _),) = locked(repository, "requirements-cpu.lock")
    assert cpu.name == "torch" and pinned(cpu).public == str(pinned(lock["torch"])) and pinned(cpu).local == "cpu"
    apart = [pin.name for pin, _ in locked(repository, "requirements-cuda.lock")]
    assert apart and all(name.startswith(("nvidia-", "cuda-", "triton")) for name in apart)


def test_the_bill_of_materials_is_the_lock_s_and_names_every_licence(repository, project, lock):
    bill = json.loads((repository / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", project["name"])
    listed = {each["name"]: each for each in bill["components"]}
    assert len(listed) == len(bill["components"])
    for each in listed.values():
        assert "not given" not in str(each["licenses"]), each["name"]
    if sys.platform == "linux":  # where it is made
        versions = {name: each["version"] for name, each in listed.items() if "version" in each}
        assert versions == {name: str(pin.specifier)[2:] for name, pin in lock.items()}


@pytest.mark.parametrize("extras", [(), ("companion",), ("dev",)])
def test_the_lock_satisfies_every_range(project, lock, extras):
    for requirement in direct(project, *extras):
        assert requirement.specifier.contains(pinned(lock[canonicalize_name(requirement.name)])), requirement


def test_the_environment_that_make_made_is_the_locked_one(repository, lock):
    if repository / ".venv" != Path(sys.prefix):
        pytest.skip("this is not the environment that make made")
    installed = {
        canonicalize_name(found.metadata["Name"]): Version(found.version) for found in metadata.distributions()
    }
    assert {name: installed.get(name) for name, pin in lock.items() if installed.get(name) not in pin.specifier} == {}


def test_the_locked_packages_bring_nothing_that_is_not_locked(project, lock):
    """What a locked package asks for on this machine is locked too, or the lock would drift."""
    unlocked = set()
    for name in lock:
        try:
            asked = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed")
        for line in asked:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                unlocked.add(canonicalize_name(needed.name))
    unlocked -= lock.keys()
    # torch brings these where it is built for NVIDIA's cards
    assert not {name for name in unlocked if not name.startswith(("nvidia", "cuda", "triton"))}


def test_conda_lines_are_well_formed_pins_of_the_locked_versions(conda_lines, lock):
    MatchSpec = pytest.importorskip("rattler", reason="conda lines are read with py-rattler").MatchSpec
    for line in conda_lines:
        spec = MatchSpec(line)
        name = spec.name.normalized if hasattr(spec.name, "normalized") else str(spec.name)
        if name in ("python", "pip"):
            continue
        version = line.partition("=")[2]
        assert version, f"{line} is no pin"
        assert lock[canonicalize_name(PIP_NAME.get(name, name))].specifier.contains(version), line


def test_conda_gets_a_python_that_the_package_supports(project, conda_lines):
    (python,) = [line.partition("=")[2] for line in conda_lines if line.startswith("python=")]
    assert Requirement(f"python{project['requires-python']}").specifier.contains(python)


def test_pip_lines_are_the_lock_s(pip_lines, lock):
    assert "-e ." in pip_lines
    for line in pip_lines:
        if line != "-e .":
            requirement = Requirement(line)
            assert requirement.specifier == lock[canonicalize_name(requirement.name)].specifier, line


def test_conda_users_get_every_direct_dependency(project, conda_lines, pip_lines):
    from_conda = {canonicalize_name(PIP_NAME.get(name, name)) for name in (line.split("=")[0] for line in conda_lines)}
    from_pip = {canonicalize_name(Requirement(line).name) for line in pip_lines if line != "-e ."}
    assert not from_conda & from_pip
    for requirement in direct(project, "companion", "dev"):
        assert canonicalize_name(requirement.name) in from_conda | from_pip, f"environment.yml lacks {requirement.name}"


def test_what_the_package_imports_is_declared(repository, project):
    core = {canonicalize_name(requirement.name) for requirement in direct(project)}
    provided_by = metadata.packages_distributions()
    undeclared = {}
    for path in (repository / "deepcv").rglob("*.py"):
        for module in imported(path):
            distributions = {canonicalize_name(name) for name in provided_by.get(module, [module])}
            if not distributions & (core | OPTIONAL):
                undeclared.setdefault(module, path.name)
    assert not undeclared


def imported(path):
    """Top-level names of the other packages' modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"deepcv", "__future__"}


def test_the_version_stands_once(repository, project):
    import deepcv

    assert "version" in project["dynamic"]
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert citation["version"] == deepcv.__version__ == metadata.version("deepcv")


def test_data_files_are_in_the_package(repository):
    """Each data file beside the code matches a pattern of `package-data`, or `pip install .` would leave it out."""
    with open(repository / "pyproject.toml", "rb") as file:
        patterns = tomllib.load(file)["tool"]["setuptools"]["package-data"]["deepcv"]
    package = repository / "deepcv"
    shipped = {path for pattern in patterns for path in package.glob(pattern)}
    beside = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert not beside - shipped


def test_pre_commit_uses_the_locked_versions(repository, lock):
    (section,) = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in section["hooks"]:
        for line in hook["additional_dependencies"]:
            requirement = Requirement(line)
            assert requirement.specifier == lock[canonicalize_name(requirement.name)].specifier, line
