"""Ours and the peers side by side: `make bench`, or `python -m benchmarks --help`.

Each contender runs in processes of its own with one thread, over the same images, the contenders in turn. Seconds are
taken around the call, without imports and after a call on a small image; memory is the process's peak, with what it
had before the call beside it.

`contenders`   who takes part
`measure`      one process: the clock and the memory around one contender's calls
`iteration`    where the time of one iteration of our model goes, and its floor on this machine
`processes`    one process of several threads against several of one
"""
