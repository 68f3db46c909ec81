"""A call chooses its threads and restores them."""

import pickle
import threading

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

import deepcv
from deepcv.companion.closure import code_hash
from deepcv.threads import on_one_thread, one_thread


@pytest.fixture
def two_threads(monkeypatch):
    """Two threads, of torch and of linear algebra, that no variable asks for."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    limits = threadpool_limits(2, user_api="blas")
    with threadpool_limits():  # from here any thread may set limits
        pass
    yield
    limits.restore_original_limits()
    torch.set_num_threads(before)


def counts():
    return torch.get_num_threads(), {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_inside_there_is_one_thread_and_afterwards_as_many_as_before(two_threads):
    before = counts()
    assert before[0] == 2
    with one_thread(), one_thread():
        assert counts() == (1, {1})
    assert counts() == before
    with pytest.raises(ZeroDivisionError):
        on_one_thread(lambda: 1 / 0)()
    assert counts() == before


def test_a_call_within_another_lifts_no_limit(two_threads):
    before = counts()
    with one_thread():
        with one_thread():
            pass
        assert counts() == (1, {1})
        with pytest.raises(ZeroDivisionError):
            on_one_thread(lambda: 1 / 0)()
        assert counts() == (1, {1})
    assert counts() == before


def test_of_calls_at_once_the_last_restores_what_was_before_the_first(two_threads):
    entered, leave, seen = threading.Event(), threading.Event(), []

    def second():
        with one_thread():
            entered.set()
            leave.wait(60)
            seen.append(counts())

    other = threading.Thread(target=second)
    with one_thread():
        other.start()
        entered.wait(60)
    leave.set()
    other.join()
    later = threading.Thread(target=lambda: seen.append(counts()))
    later.start()
    later.join()
    assert seen == [(1, {1}), (2, {2})]


def test_what_the_environment_says_is_left_alone(two_threads, monkeypatch):
    before = counts()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with one_thread():
        assert counts() == before


def test_calls_at_once_restore_the_threads(two_threads):
    before, entered, leave = counts(), threading.Event(), threading.Event()

    def outer():
        with one_thread():
            entered.set()
            leave.wait(60)

    other = threading.Thread(target=outer)
    other.start()
    entered.wait(60)
    with one_thread():
        leave.set()
        other.join()
        assert torch.get_num_threads() == 1
    assert counts() == before


def test_the_methods_own_name_and_signature_stay():
    assert pickle.loads(pickle.dumps(deepcv.deep_chan_vese)) is deepcv.deep_chan_vese
    assert deepcv.deep_chan_vese.__name__ == "deep_chan_vese" and deepcv.deep_chan_vese.__kwdefaults__["seed"] == 0


def test_a_segmentation_runs_on_one_thread_and_its_code_is_that_of_the_function(two_threads, monkeypatch):
    from deepcv.model import segment

    seen = []
    whole = segment.deep_chan_vese_batch
    monkeypatch.setattr(segment, "deep_chan_vese_batch", lambda *a, **k: seen.append(counts()) or whole(*a, **k))
    image = np.full((40, 60), 0.2)
    image[10:30, 20:45] = 0.8
    assert deepcv.deep_chan_vese(image, hint=image, steps=3, rounds=1).mask.any()
    assert seen == [(1, {1})]
    assert code_hash(deepcv.deep_chan_vese) == code_hash(deepcv.deep_chan_vese.__wrapped__)
