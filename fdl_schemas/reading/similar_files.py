"""The file that a wrong path probably means: another case, another ending, a typing mistake."""

from __future__ import annotations

import os
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Final

_LOOKED_AT: Final = 500
_CLOSE: Final = 0.75


def similar_file(missing: Path) -> Path | None:
    """A file or folder beside a missing one whose name is nearly the same."""
    try:
        with os.scandir(missing.parent) as entries:
            names = {entry.name.lower(): entry.name for entry in islice(entries, _LOOKED_AT)}
    except (OSError, ValueError):
        return None
    nearest = get_close_matches(missing.name.lower()[:255], names, n=1, cutoff=_CLOSE)
    return missing.with_name(names[nearest[0]]) if nearest else None
