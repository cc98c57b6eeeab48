"""The example's modules stand beside its FDL file, outside the packages."""

from __future__ import annotations

import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "video-process"
if str(EXAMPLE) not in sys.path:
    sys.path.insert(0, str(EXAMPLE))
