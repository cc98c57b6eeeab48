"""What is packaged of the folder that `extra_payload` names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_CDK_OUTPUT: Final = "cdk.out"


def is_cdk_output(folder: Path) -> bool:
    """Whether a folder is one that the CDK writes to, which is not packaged: it holds the packages, and
    secrets."""
    return folder.name == _CDK_OUTPUT or os.path.isfile(folder / _CDK_OUTPUT)  # noqa: PTH113 - False where it may not look
