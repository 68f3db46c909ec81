"""`deepcv data` and `deepcv methods`."""

import re


def test_an_unknown_data_set_is_refused(refused):
    refused(("data", "fetch", "imagenet"), "'imagenet'.*weizmann")


def test_methods_and_data_sets_are_listed(deepcv, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPCV_DATA", str(tmp_path))
    assert deepcv("methods") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("deep-cv", "chan-vese", "grabcut", "saliency", "default", "paper", "released"))
    assert deepcv("data", "list") == 0
    out = capsys.readouterr().out
    assert re.search(r"samples +\d+ images\n", out) and re.search("weizmann +missing.*fetch weizmann", out)


def test_flowers_are_linked_by_name(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPCV_DATA", str(tmp_path))
    refused(("data", "link"), "no jpg in .*deepcv data fetch flowers17")
    refused(("data", "truths"), "no jpg in .*deepcv data fetch flowers102")
