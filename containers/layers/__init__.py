"""Layers: compressed tar archives that strangers wrote, turned into files.

decompress    gzip and zstd, by the fastest library that is installed
tar_header, tar_stream   the entries of an archive, with bounded memory
reader        a layer as it arrives, checked against its digest
tree          a root file system that no entry leads out of
unpack        entries and whiteouts applied to a tree
"""
