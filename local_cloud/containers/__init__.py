"""The containers of image functions and Batch jobs, each in its own process.

processes.py     starts and ends them
task.py          the input of such a process
host.py          the program that runs one container
memory.py        the memory limit of a container
node_network.py  the network of the containers of a multi-node job
log.py           the output of a container
"""
