"""The network of a container.

namespace.py   the outer side of a network namespace
forwarding.py  forwards TCP connections
outgoing.py    outgoing connections, by slirp4netns or pasta
"""
