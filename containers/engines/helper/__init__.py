"""Programs that run in a process of their own between the runner and a container.

    container_init.py  the helper of the namespaces engine
    process_init.py    the helper of engines without a PID namespace
    filesystem.py      the container's file system
    network.py         a network namespace with only a loopback interface
    program.py         becomes the user's program
    processes.py       ends every process below this one
    seccomp.py         the filter for system calls
    kernel.py          system calls that Python's standard library does not have

The runner sends their compiled code through a pipe (see supervise.py): nothing is read from disk or compiled
again for each run. They import only modules that are very small or written in C, because a run waits for each
millisecond of it, and nothing of the runner outside this package.
"""
