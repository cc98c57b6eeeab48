"""Assembled images: the user's image, prepared for AWS Lambda and AWS Batch, from registry to registry.

    assembler.py       `assemble`: all steps
    source.py          finds the user's image
    target.py          the repository that the assembled image is pushed to
    transfer.py        copies and inspects one layer
    layer_report.py    the content of a layer
    file_tree.py       the combined file system of all layers
    corrections.py     a layer with corrections for AWS Lambda
    interpreter.py     the Python for the image
    runner_layer.py    the layer with Python and the runner
    function_layer.py  the layer of the function
    layer_writer.py    writes layers
    records.py         records that later assemblies reuse
    errors.py          errors of an assembly

This package depends on AWS only for archives in S3 and credentials in AWS Secrets Manager.
"""

from __future__ import annotations

from containers.assembly.assembler import Assembled, Wanted, assemble
from containers.assembly.errors import OutOfTime
from containers.assembly.runner_layer import Runner, this_runner
from containers.assembly.target import TargetRepository

__all__ = ["Assembled", "OutOfTime", "Runner", "TargetRepository", "Wanted", "assemble", "this_runner"]
