"""One process of two threads against two processes of one thread: which finishes more images?

    python -m benchmarks.processes

Three ways over the same images in one run, on an otherwise idle machine; the ratios count. It takes about a minute on
two cores. This is why `deepcv.parallel` starts processes of one thread.
"""

import time

import torch

from deepcv import parallel
from deepcv.data import samples
from deepcv.model.segment import deep_chan_vese

NAMES = 5 * tuple(samples.COMPOSITES)[:8]


def solve(name: str) -> float:
    sample = samples.load(name)
    return deep_chan_vese(sample.image, sample.mask, size=160, device="cpu").seconds


def seconds_an_image(workers: int, threads: int) -> float:
    torch.set_num_threads(threads)
    start = time.perf_counter()
    for _ in parallel.run(solve, NAMES, workers=workers, progress=False):
        pass
    return (time.perf_counter() - start) / len(NAMES)


if __name__ == "__main__":
    solve(NAMES[0])  # the first call loads and allocates, so it isn't measured
    single = seconds_an_image(workers=1, threads=1)
    print(f"1 process,   1 thread:  {single:5.2f} s per image")
    for workers, threads, label in ((1, 2, "1 process,   2 threads"), (2, 1, "2 processes, 1 thread ")):
        seconds = seconds_an_image(workers, threads)
        print(f"{label}: {seconds:5.2f} s per image, {single / seconds:.2f} times as fast (process start included)")
