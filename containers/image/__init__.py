"""Images as the OCI and Docker specifications describe them, wherever they are.

config      how an image wants to be run
manifests   indexes, manifests and configurations: understood and checked
origin      a place that holds blobs, an image that was found in it, and streams that check digests
layout      an OCI image layout: a folder as such a place
"""
