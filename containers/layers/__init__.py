"""Layers: compressed tar archives that strangers wrote, turned into files.

decompress.py  gzip and zstd, by the fastest library that is installed
tar_header.py  headers of an archive's entries
tar_stream.py  the entries of an archive, with bounded memory
reader.py      a layer as it arrives, checked against its digest
tree.py        a root file system that no entry leads out of
unpack.py      entries and whiteouts applied to a tree
"""
