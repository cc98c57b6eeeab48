"""Programs that run in a process of their own between the runner and a container.

The runner sends their compiled code through a pipe (see supervise.py): nothing is read from disk or compiled
again for each run. They import nothing that is not in C or very small, as a run waits for each millisecond of
it, and nothing of the runner outside this package. `container_init` serves the namespaces engine,
`process_init` the engines that cannot have a PID namespace. The others are their parts; `seccomp` (with
`kernel`) and `network` know nothing of what the container is for.
"""
