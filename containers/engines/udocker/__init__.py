"""Engines for environments without namespaces, such as AWS Lambda. Only pulled mode uses them.

engine.py         what both engines share
fakechroot.py     a preloaded library that changes paths
proot.py          ptrace changes the paths of system calls
tools.py          udocker's libraries and programs, and which of them fits an image
prepared_root.py  prepares an unpacked image for both
orphans.py        ends processes that outlive their supervisor
"""
