"""Proposals for the settings of functions, from measured runs.

measured.py   what the runs of a function tell about its settings
proposals.py  memory, timeout, place and architecture of one function
reported.py   the proposals for all functions, for `scar advise` and for reports
places.py     where a setting is, or belongs, in an FDL file
"""
