"""Launches: one event for each file that is in a function's input folders already.

plan.py           what a launch will do, from the command line, the FDL file and a journal
send.py           the events of a plan, sent until all are accepted
wait.py           what became of the files of a journal (`--wait`)

files.py          the files that are listed and selected
done.py           files that are done: before a launch (`--skip-done`), and after it (`--wait`)
same_names.py     files with the same name in different folders
journal.py        which events were accepted, on disk
progress.py       how far a launch is, from the journal that it is writing
fan_out.py        all events but the first, sent by several threads
arrays.py         all events of a function in `batch` mode, in array jobs
pace.py           how fast events are sent
budget.py         how many events the limit of the cost allows
report.py         progress on a terminal, and the result for people and for programs
distributed.py    launches that run in AWS Step Functions (`--distributed`)
"""
