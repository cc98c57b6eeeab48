"""Two container images for the demo, built without a registry and without Docker.

The entry point is `build_images`. README.md describes the content of the images.
"""
