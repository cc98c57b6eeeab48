"""`make prove-on-aws`: deploy every example, run real files through it, check the results, remove it all.

A dated table of what was seen is kept.

    cases.py       each example: its inputs, and the outputs that have to come of them
    place.py       where an example is deployed: its names there, uploads, results, logs
    neighbours.py  what some examples need beside AWS: servers, images, a public data set
    stacks.py      deploys an example with `scar init`, and removes it
    costs.py       what a run may cost at most
    evidence.py    the table, as Markdown and JSON
    __main__.py    asks, runs, removes

The tests use the same cases on the embedded cloud (`tests/cloud/test_examples.py`).
"""
