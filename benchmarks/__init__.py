"""Our methods and peers side by side: `make bench`, or `python -m benchmarks --help`.

Each contender runs in single-threaded processes of its own, over the same images, in turns. Seconds are those of the
call, without imports and after a call on a small image; memory is the process's peak, next to its peak before the call.

`contenders`   the methods timed
`measure`      one process: time and memory of one contender's calls
`iteration`    where the time of an iteration goes, and its floor on this machine
`processes`    one process of several threads against several of one
"""
