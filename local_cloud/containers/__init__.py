"""The containers of image functions and Batch jobs, each in its own process.

processes.py  starts and ends them
task.py       the input of such a process
host.py       the program that runs one container
memory.py     its memory limit
node_network.py  the network of the containers of a multi-node job
log.py        what a container writes
"""
