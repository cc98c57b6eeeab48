"""The functions, buckets and Batch of the runner's unit tests."""

from tests.unit.runtime.conftest import (  # noqa: F401 (fixtures)
    aws_environment,
    batch_api,
    bucket,
    cloud,
    config,
    function,
    images,
    log_lines,
)
