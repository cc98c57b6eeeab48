"""Which files of an `extra_payload` folder are packaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_CDK_OUTPUT: Final = "cdk.out"


def is_cdk_output(folder: Path) -> bool:
    """Whether a folder is an output folder of the CDK. It contains secrets, and is not packaged."""
    return folder.name == _CDK_OUTPUT or os.path.isfile(folder / _CDK_OUTPUT)  # noqa: PTH113 - False without permission
