"""What holds for every test."""

import os
import shutil
import signal
import sys

# Read when numpy and torch are loaded, so before any test module is. Side by side with the kernels of the notebooks,
# more threads only get into each other's way, and sums are the same in the same order.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# Ignored where a shell started pytest with `&`, and then in every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

from pathlib import Path  # noqa: E402

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository; tests of an installed package alone skip what needs it."""
    root = Path(__file__).parents[1]
    if not (root / "pyproject.toml").exists():
        pytest.skip("the tests are not in a checkout of the repository")
    return root


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory):
    """No test writes into the user's cache, but data sets that are there are read."""
    from deepcv.data.dataset import data_folder

    with pytest.MonkeyPatch.context() as patch:
        if "DEEPCV_CACHE" not in os.environ:
            if (data := data_folder()).is_dir():
                patch.setenv("DEEPCV_DATA", str(data))
            patch.setenv("DEEPCV_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def closed_figures():
    """No test leaves its figures in memory."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium. One a module: while it runs, no other event loop can."""
    playwright = pytest.importorskip("playwright.sync_api", reason="install the extra `dev`")
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("there is no chromium on the PATH; on Debian, apt-get install chromium")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()
