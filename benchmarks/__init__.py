"""Speed, as ratios of things measured side by side in one run.

`make bench` runs every benchmark of this package, prints a table, and writes `build/bench.json`: a list of
`{"name", "ours", "other", "ratio", "unit"}`. Absolute times depend on the machine; a ratio of two medians
that were measured in turns does not, or little. Nothing here is a test: nothing fails on a slow machine.
"""
