"""Layers: untrusted, compressed tar archives, unpacked to files.

decompress.py  gzip and zstd, with the fastest installed library
tar_header.py  headers of an archive's entries
tar_stream.py  the entries of an archive, with bounded memory
reader.py      a stream of a layer, checked against its digest
tree.py        a root file system that no entry can escape
unpack.py      entries and whiteouts applied to a tree
"""
