"""Builds container images from files, without Docker and without a registry.

    archive.py          all of this in one step: an image archive
    errors.py           errors of a build
    layer_files.py      the plan of a layer: the source of each path
    host_folder.py      a folder of the host, placed from `/`
    python_packages.py  packages that pip installs
    host_files.py       a small Linux user land, Python and shared libraries of the host
    bytecode.py         bytecode for the Python files of a layer
    layout.py           layers as an OCI image layout

It is not part of the runner's package: it runs on developers' machines only.
"""
