"""`make chaos`: faults are injected into the embedded cloud during its work, and nothing may be lost.

    chain.py        files go through three functions meanwhile
    workload.py     a stack, and what has become of each of its files
    sequence.py     the faults: kills, cuts, errors, a full disk, jumps of the clock
    launches.py     launches that are killed and resumed
    assemblies.py   deployments whose assembler is killed
    duplicates.py   doubled and reordered events
    uploads.py      many uploads in a minute, to a queue
    reports.py      files that fail on purpose: is the report right about each of them?
    __main__.py     runs all parts; exit code 1 if anything is lost or doubled, or if the report is wrong

A seed reproduces the sequence of faults, and after how many requests each of them is injected. `make test`
injects a few faults (`tests/faults/injected`); 1,000 take about forty minutes.
"""
