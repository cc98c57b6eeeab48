"""The rule about marks of the CDK: it writes `${Token[NAME.1]}` where a value is not known yet.

Whatever looks like such a mark is replaced, wherever it stands, or the whole synthesis ends with an error
that does not say where.
"""

from __future__ import annotations

import re
from typing import Final

from fdl_schemas.diagnostics import quoted
from fdl_schemas.document import PathInFile
from fdl_schemas.findings import Findings

_MARK: Final = re.compile(r"[$#]\{Token\[")


def refuse_marks(findings: Findings) -> None:
    """Notes an error for each text, and each name of a key, that holds a mark."""
    found: list[tuple[PathInFile, object, bool]] = [((), findings.document.data, False)]
    while found and not findings.full:
        path, value, is_key = found.pop()
        if isinstance(value, dict):
            found += [((*path, key), key, True) for key in value]
            found += [((*path, key), item, False) for key, item in value.items()]
        elif isinstance(value, list):
            found += [((*path, index), item, False) for index, item in enumerate(value)]
        elif isinstance(value, str) and (mark := _MARK.search(value)):
            findings.error(
                "FDL037",
                f"{quoted(mark[0])} is how the CDK marks values of its own",
                path,
                expected="text without it",
                help="write it in another way, such as with a blank after the `{`",
                on_key=is_key,
            )
