"""Images as the OCI and Docker specifications describe them, wherever they are.

config.py     how an image wants to be run
manifests.py  indexes, manifests and configurations: parsed and checked
origin.py     places that hold blobs, and streams that check digests
layout.py     an OCI image layout: a folder as such a place
"""
