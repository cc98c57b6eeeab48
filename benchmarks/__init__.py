"""Speed, as ratios of things measured side by side in one run.

`make bench` runs every benchmark of this package, prints a table, and writes `build/bench.json`: a list of
`{"name", "ours", "other", "ratio", "unit"}`. Absolute times depend on the machine. The ratio of two
medians that were measured in turns hardly does. These are not tests: nothing fails on a slow machine.
"""
