"""Images of the OCI and Docker specifications, independent of their source.

config.py     the run configuration of an image
manifests.py  indexes, manifests and configurations: parsed and checked
origin.py     sources of blobs, and streams that check digests
layout.py     an OCI image layout: a folder as such a source
"""
