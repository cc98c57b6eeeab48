"""Assembled images: the user's image made ready for AWS Lambda and AWS Batch, from registry to registry.

    assembler.py       `assemble`: all steps
    source.py          finds the user's image
    target.py          the repository that the assembled image is pushed to
    transfer.py        copies and inspects one layer
    layer_report.py    what a layer holds
    file_tree.py       the file system that all layers make
    corrections.py     a layer that fixes what would fail on AWS Lambda
    interpreter.py     the Python that goes into the image
    runner_layer.py    the layer with Python and the runner
    function_layer.py  the layer of the function
    layer_writer.py    writes layers
    records.py         what later assemblies can reuse
    errors.py          errors of an assembly

This package depends on AWS only for archives in S3 and credentials in AWS Secrets Manager.
"""

from __future__ import annotations

from containers.assembly.assembler import Assembled, Wanted, assemble
from containers.assembly.errors import OutOfTime
from containers.assembly.runner_layer import Runner, this_runner
from containers.assembly.target import TargetRepository

__all__ = ["Assembled", "OutOfTime", "Runner", "TargetRepository", "Wanted", "assemble", "this_runner"]
