"""Faults that are injected into the embedded cloud while it works.

    proxy.py    in front of the cloud: cuts, errors, delays, and the limits of AWS
    limits.py   AWS's documented limits, as token buckets
    cloud.py    an embedded cloud behind such a proxy
    program/    starts that cloud's emulator, which doubles and reorders events if asked to
    kills.py    processes of a cloud that may be killed

All decisions are made by `random.Random(seed)`. `make chaos` runs hundreds of such faults, `make test` a few.
"""
