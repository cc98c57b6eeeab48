"""Engines for places that refuse namespaces, such as AWS Lambda: pulled mode alone uses them.

engine.py         what both engines share
fakechroot.py     a preloaded library that changes paths
proot.py          ptrace changes the paths of system calls
tools.py          udocker's libraries and programs, and which of them fits an image
prepared_root.py  an unpacked image made fit for both
orphans.py        processes that outlive their supervisor
"""
