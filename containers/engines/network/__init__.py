"""The network of a container.

namespace.py   a network namespace, as far as it is made from outside
forwarding.py  passes TCP connections on
outgoing.py    a way out, by slirp4netns or pasta
"""
