"""Assembled images: the user's image made ready for AWS Lambda and AWS Batch, from registry to registry.

`assemble` is the entry point. `source` finds the user's image, `transfer` copies its layers into the
`target` and inspects them (`layer_report`, `file_tree`), and `corrections` fixes what would fail on Lambda.
`interpreter` and `runner_layer` build the layer with the runner, `function_layer` that of the function.
`records` keeps what later assemblies can reuse. This package depends on AWS only for archives in S3 and
credentials in Secrets Manager.
"""

from __future__ import annotations

from containers.assembly.assembler import Assembled, Wanted, assemble
from containers.assembly.errors import OutOfTime
from containers.assembly.runner_layer import Runner, this_runner
from containers.assembly.target import TargetRepository

__all__ = ["Assembled", "OutOfTime", "Runner", "TargetRepository", "Wanted", "assemble", "this_runner"]
