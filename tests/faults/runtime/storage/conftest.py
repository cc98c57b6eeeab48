"""The storage servers of the unit tests."""

from tests.unit.runtime.conftest import aws_environment, cloud  # noqa: F401 (fixtures)
from tests.unit.runtime.storage.conftest import (  # noqa: F401 (fixtures)
    cdmi_server,
    dav,
    dav_server,
    onedata,
    s3_server,
)
