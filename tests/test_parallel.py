"""Running items: every item once, a bounded number at a time, and clear words when one fails."""

import functools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from deepcv import parallel, provenance
from deepcv.cli.main import main
from deepcv.data import samples
from deepcv.errors import InputError
from deepcv.pictures import write_image

# Workers import what they compute with, so these functions stand in a module that a test writes.
FUNCTIONS = """
    import os, signal, time
    from deepcv.errors import InputError

    def square(number): return number * number
    def process_of(item): return os.getpid()
    def threads(item):
        import cv2, torch
        return torch.get_num_threads(), cv2.getNumThreads()
    def fails_at_3(number):
        if number == 3: raise ZeroDivisionError("by nought")
        return number
    def rejects_3(number):
        if number == 3: raise InputError("too odd")
        return number
    def dies_at_3(number):
        if number == 3: os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.3)
        return number
    def squares_in_processes(number):
        from deepcv.parallel import run
        return sorted(run(square, range(number + 1), workers=2, progress=False))
    def sleeps(seconds): time.sleep(seconds)
    def slow_process_of(item):
        time.sleep(0.2)
        return os.getpid()
    def writes_pid(folder):
        open(os.path.join(folder, str(os.getpid())), "w").close()
        time.sleep(60)
"""


@pytest.fixture
def functions(tmp_path, monkeypatch):
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / "items_to_run.py").write_text(textwrap.dedent(FUNCTIONS))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "items_to_run", raising=False)
    import items_to_run

    return items_to_run


def run(*arguments, **options):
    return parallel.run(*arguments, progress=False, **options)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_is_given_once_with_its_result(functions, workers):
    found = list(run(functions.square, range(12), workers=workers))
    assert sorted(found) == [(number, number * number) for number in range(12)]


def test_one_worker_computes_in_this_process(functions):
    assert list(run(functions.process_of, "ab", workers=1)) == [("a", os.getpid()), ("b", os.getpid())]


def test_several_workers_are_other_processes_of_one_thread(functions):
    before = {name: os.environ.get(name) for name in parallel.ONE_THREAD}
    assert os.getpid() not in dict(run(functions.process_of, "abcd", workers=2)).values()
    assert dict(run(functions.threads, "ab", workers=2)) == {"a": (1, 1), "b": (1, 1)}
    assert {name: os.environ.get(name) for name in parallel.ONE_THREAD} == before


def test_any_executor_is_used_and_left_open():
    with ThreadPoolExecutor(2) as threads:
        assert sorted(run(abs, [-2, 1], workers=threads)) == [(-2, 2), (1, 1)]
        assert threads.submit(abs, -1).result() == 1


def test_items_are_taken_a_few_ahead():
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield taken[-1]

    with ThreadPoolExecutor(2) as threads:
        finished = run(abs, endless(), workers=threads)
        for _ in range(5):
            next(finished)
        assert len(taken) < 20
        finished.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_item_is_named(functions, workers):
    with pytest.raises(parallel.ItemError, match=r"^3: ZeroDivisionError: by nought$") as caught:
        list(run(functions.fails_at_3, [3, 3], workers=workers))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("workers", [1, 2])
def test_input_that_cannot_be_used_stays_an_input_error(functions, workers):
    with pytest.raises(InputError, match=r"^3: too odd$"):
        list(run(functions.rejects_3, [3, 3], workers=workers))


def test_a_worker_that_dies_costs_its_item_and_is_reported_at_the_end(functions):
    found = []
    with pytest.raises(InputError, match=r"^3, 3: not computed, a worker died of SIGKILL\(-9\); if the memory ran out"):
        for item, _ in run(functions.dies_at_3, [1, 3, 5, 3, 7, 9], workers=2):
            found.append(item)
    assert sorted(found) == [1, 5, 7, 9]


def test_a_foreign_pool_whose_worker_dies_ends_with_the_names_of_what_is_missing(functions):
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        pytest.raises(InputError, match=r"^3, 5: not computed, a worker died"),
    ):
        list(run(functions.dies_at_3, [3, 5], workers=pool))


def kill_and_wait(pid):
    os.kill(pid, signal.SIGKILL)
    time.sleep(1)  # until its pool knows


def test_a_worker_that_dies_idle_is_replaced(functions):
    finished = run(functions.process_of, [1, 2, 3], workers=2)
    first, pid = next(finished)
    kill_and_wait(pid)
    assert sorted([first, *(item for item, _ in finished)]) == [1, 2, 3]


def test_a_foreign_pool_whose_worker_dies_idle_names_the_item_it_would_not_take(functions):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pid = pool.submit(functions.process_of, 0).result()
        kill_and_wait(pid)
        with pytest.raises(InputError, match=r"^1: not computed, a worker died"):
            list(run(functions.square, [1, 2], workers=pool))


def test_no_worker_is_refused(functions):
    with pytest.raises(InputError, match=r"at least one worker, not 0"):
        run(functions.square, [1, 2], workers=0)


def test_a_function_that_cannot_be_imported_is_sent_by_value():
    assert sorted(run(functools.partial(lambda more, item: item + more, 1), [1, 2], workers=2)) == [(1, 2), (2, 3)]


def test_an_item_that_cannot_be_sent_is_named(functions):
    with pytest.raises(parallel.ItemError, match=r"^<unlocked .*PicklingError"):
        list(run(functions.process_of, [threading.Lock(), threading.Lock()], workers=2))


def test_items_may_be_parallel_themselves(functions):
    found = dict(run(functions.squares_in_processes, [1, 2], workers=2))
    assert found == {1: [(0, 0), (1, 1)], 2: [(0, 0), (1, 1), (2, 4)]}


def test_giving_up_kills_the_workers(functions):
    started = time.monotonic()
    finished = run(functions.sleeps, [0.01, 60, 60], workers=2)
    next(finished)
    finished.close()
    assert time.monotonic() - started < 50


def test_every_usable_core_gets_a_worker():
    assert 1 <= parallel.concurrency(None) <= os.cpu_count()
    assert parallel.concurrency(3) == 3
    with ThreadPoolExecutor(2) as threads:
        assert parallel.concurrency(threads) == 2
    assert parallel.concurrency(Executor()) == parallel.DEFAULT_IN_FLIGHT


# -- a cluster ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_cluster(tmp_path_factory):
    """A Dask cluster of two processes of one thread, and functions that they can import."""
    distributed = pytest.importorskip("distributed", reason="a cluster needs Dask; install the extra `scale`")
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "items_on_cluster.py").write_text(textwrap.dedent(FUNCTIONS))
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import items_on_cluster

        with distributed.LocalCluster(**options, silence_logs=50) as cluster:
            yield cluster.scheduler_address, items_on_cluster


def test_a_cluster_gives_the_rows_of_this_process_and_says_which_machine(on_cluster, tmp_path, monkeypatch):
    from deepcv.companion.experiments import get_experiment
    from deepcv.companion.store import Store

    address, _ = on_cluster
    experiment = get_experiment("table1")
    settings = experiment.settings(methods=("deep-cv", "chan-vese"), size=32, seeds=(0, 1), device="cpu")
    items = [item for item in experiment.items(settings) if item.image == "overlap-pair"]
    compute = experiment.compute("quick", "cpu")
    with Store(tmp_path / "here.sqlite") as store:
        here = store.complete(items, compute, workers=1, progress=False)
    monkeypatch.setitem(provenance.provenance(), "machine", "the client")
    with parallel.cluster(address) as executor, Store(tmp_path / "there.sqlite") as store:
        there = store.complete(items, compute, workers=executor, progress=False)
    assert len(here) == 3
    same = [name for name in here if name not in ("seconds", "hint_seconds", "created", "extra")]
    assert there[same].to_dict("records") == here[same].to_dict("records")


def test_a_cluster_segments_a_folder(on_cluster, tmp_path, monkeypatch, capsys):
    """Relative paths start from the folder of the command, and what fails is said as in processes of one's own."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("coins", "overlap-pair"):
        write_image(f"photos/{name}.png", samples.load(name).image[::4, ::4])
    write_image("hint.png", samples.load("coins").mask.astype(np.uint8) * 200)
    Path("photos/broken.png").write_bytes(b"no picture")
    command = ["segment", "photos", "--method", "chan-vese", "--hint", "hint.png"]
    assert main([*command, "--out", "here", "--workers", "1"]) == 1
    assert main([*command, "--out", "there", "--scheduler", on_cluster[0]]) == 1
    assert "there: 2 masks, 1 skipped" in capsys.readouterr().out
    for name in ("coins.png", "overlap-pair.png"):
        assert Path("there", name).read_bytes() == Path("here", name).read_bytes()


def test_a_killed_worker_costs_its_item_only(on_cluster):
    address, functions = on_cluster
    found = []
    with parallel.cluster(address) as executor:
        for item, process in run(functions.slow_process_of, range(10), workers=executor):
            if not found:
                os.kill(process, signal.SIGKILL)
            found.append((item, process))
        executor._client.wait_for_workers(2, timeout=300)  # the tests below count on it
    assert sorted(item for item, _ in found) == list(range(10))
    assert sum(process == found[0][1] for _, process in found) == 1


def test_workers_of_a_cluster_compute_with_one_thread(on_cluster):
    address, functions = on_cluster
    with parallel.cluster(address) as executor:
        assert parallel.concurrency(executor) == 2
        assert dict(run(functions.threads, "ab", workers=executor)) == {"a": (1, 1), "b": (1, 1)}


def test_what_fails_on_a_cluster_is_named(on_cluster):
    address, functions = on_cluster
    with parallel.cluster(address) as executor:
        with pytest.raises(parallel.ItemError, match=r"^3: ZeroDivisionError: by nought$"):
            list(run(functions.fails_at_3, [1, 3], workers=executor))
        with pytest.raises(InputError, match=r"^3: too odd$"):
            list(run(functions.rejects_3, [3], workers=executor))


def test_items_that_a_cluster_drops_are_named(on_cluster):
    address, functions = on_cluster
    with parallel.cluster(address) as executor:
        finished = run(functions.sleeps, [0, 2], workers=executor)
        next(finished)
        executor.shutdown(wait=False)
        with pytest.raises(InputError, match=r"^2: the scheduler is gone or dropped it; run again"):
            next(finished)


def test_a_lost_scheduler_and_an_item_that_kills_workers_are_sentences(functions):
    """As seen with a scheduler of its own, killed after the first item; that takes ten seconds."""
    executor = Executor()
    executor._client = Mock()
    executor._client.nthreads.side_effect = OSError("Timed out trying to connect")
    with pytest.raises(InputError, match=r"^the Dask scheduler is gone; start it again"):
        list(run(functions.square, [1, 2], workers=executor))
    with pytest.raises(InputError, match=r"^3: not computed, each worker that tried it died"), parallel._naming(3):
        raise type("KilledWorker", (Exception,), {})("task", "worker", 3)


def test_workers_with_other_code_are_refused(on_cluster, monkeypatch):
    monkeypatch.setitem(provenance.provenance(), "source", "abc")
    with (
        pytest.raises(InputError, match=r"the worker tcp://\S+ has source [0-9a-f]{12}, here it is abc"),
        parallel.cluster(on_cluster[0]),
    ):
        pass


@pytest.mark.parametrize(
    ("workers", "says"),
    [({"n_workers": 0}, r"has no workers; start some with"), ({"threads_per_worker": 2}, r"computes 2 items at once")],
)
def test_a_cluster_without_fitting_workers_is_refused(workers, says):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "processes": False, "dashboard_address": ":0", "silence_logs": 50}
    with (
        distributed.LocalCluster(**options | workers) as cluster,
        pytest.raises(InputError, match=says),
        parallel.cluster(cluster.scheduler_address),
    ):
        pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "abc://127.0.0.1:1"])
def test_where_no_scheduler_is_one_sentence_says_so(monkeypatch, address):
    pytest.importorskip("distributed")
    monkeypatch.setattr(parallel, "_CONNECTION_TIMEOUT", 0.5)
    says = f"no Dask scheduler answers at {address} " if "://" in address else "'nowhere' is not a scheduler's address"
    with pytest.raises(InputError, match=says), parallel.cluster(address):
        pass


# -- how it ends -------------------------------------------------------------------------------------------------------


def _python(code, folder, **options):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    return subprocess.Popen([sys.executable, *code], env=environment, text=True, **options)


def _alive(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as status:  # a zombie is dead
            return status.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


WITHOUT_GUARD = """
from deepcv import parallel
import items_to_run
print(sorted(parallel.run(items_to_run.square, [1, 2, 3], workers=2, progress=False)))
"""


def test_a_script_needs_no_main_guard_and_neither_does_a_command(functions, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(WITHOUT_GUARD)
    for code in ([str(script)], ["-c", WITHOUT_GUARD]):
        process = _python(code, tmp_path / "functions", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=300)
        assert (out, err) == ("[(1, 1), (2, 4), (3, 9)]\n", "")


@pytest.mark.slow
def test_a_notebook_kernel_runs_items_in_processes(functions, tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    folders = [str(tmp_path / "functions"), *sys.path]
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(f"import sys; sys.path[:0] = {json.dumps(folders)}\n{WITHOUT_GUARD}")]
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    assert "".join(each.get("text", "") for each in notebook.cells[0].outputs) == "[(1, 1), (2, 4), (3, 9)]\n"


def test_on_windows_where_the_parents_number_stays_a_worker_asks_for_its_end(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    for lives in (True, False):
        monkeypatch.setattr(multiprocessing, "parent_process", lambda lives=lives: Mock(is_alive=lambda: lives))
        assert parallel._lives(os.getppid()) is lives


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
@pytest.mark.parametrize("way", ["interrupted", "killed"])
def test_workers_end_with_the_process_that_started_them(functions, tmp_path, way):
    pids = tmp_path / "pids"
    pids.mkdir()
    code = f"""
from deepcv import parallel
import items_to_run
list(parallel.run(items_to_run.writes_pid, [{str(pids)!r}] * 4, workers=2, progress=False))
"""
    process = _python(["-c", code], tmp_path / "functions", stderr=subprocess.PIPE, start_new_session=True)
    until = time.monotonic() + 300
    while len(list(pids.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    if way == "killed":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    _, err = process.communicate(timeout=60)
    assert err.count("Traceback") == (0 if way == "killed" else 1), err
    assert way == "killed" or err.endswith("KeyboardInterrupt\n")
    workers = [int(path.name) for path in pids.iterdir()]
    assert len(workers) == 2
    while any(map(_alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(_alive, workers))
