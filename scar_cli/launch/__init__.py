"""Launches: one event for each file that is in a function's input folders already.

launch.py         a launch from its options to the last accepted event
function.py       the function that is launched, and the names of its buckets
files.py          the files that are listed and selected
done.py           files whose output exists already (`--skip-done`)
journal.py        which events were accepted, on disk
journal_head.py   the options of a launch, kept at the beginning of its journal
first_event.py    the first event, whose result is waited for
fan_out.py        all other events, sent by several threads
pace.py           how fast events are sent
progress.py       progress on a terminal
waiting.py        waiting until each file is done or has failed (`--wait`)
outcome.py        the result of a launch, for people and for programs
distributed.py    launches that run in AWS Step Functions (`--distributed`)
"""
