"""The containers of image functions and Batch jobs, each a process of its own.

processes.py  starts and ends them
task.py       what such a process is told
host.py       the program that runs one container
log.py        what a container writes
"""
