"""Assembled images: the user's image made ready for AWS Lambda and AWS Batch, from registry to registry.

`assemble` is the way in. `source` finds the user's image, `transfer` brings its layers
into the `target` and has them inspected (`layer_report`, `file_tree`), `corrections` mends what Lambda
would stumble over, `interpreter` and `runner_layer` make the layer that runs it, `function_layer` that
of the function; `records` remembers what was done. Nothing here knows AWS, but that archives may be in
S3 and credentials in Secrets Manager."""

from __future__ import annotations

from containers.assembly.assembler import Assembled, Wanted, assemble
from containers.assembly.errors import OutOfTime
from containers.assembly.runner_layer import Runner, this_runner
from containers.assembly.target import TargetRepository

__all__ = ["Assembled", "OutOfTime", "Runner", "TargetRepository", "Wanted", "assemble", "this_runner"]
