"""Side-by-side measurements, with what each figure must reach. `make bench` runs them; nothing imports them.

A benchmark is one module in this folder with a ``TITLE`` (a string) and ``measure()``, which returns a list of
`benchmarks.figures.Measurement`. Its docstring's first paragraph is printed above the table in ``RESULTS.md``. It runs
in a process of its own, so that no benchmark sees another's memory or caches.
"""
