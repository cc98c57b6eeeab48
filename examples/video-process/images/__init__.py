"""Two container images for the demo, built without a registry and without Docker.

`build_images` is the door; README.md of this folder says what is in the images.
"""
