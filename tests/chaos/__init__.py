"""`make chaos`: the embedded cloud is stopped and killed in the middle of its work, and nothing may be lost.

    workload.py   the stack that runs meanwhile, and what has become of each of its files
    __main__.py   stops and starts, kills, counts; one line for each round, exit code 1 if anything is lost

Not part of `make test`: it takes about twenty minutes.
"""
