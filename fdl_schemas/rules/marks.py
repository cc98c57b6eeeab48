"""The rule about text that the CDK or CloudFormation replaces, anywhere in the file.

The CDK writes `${Token[NAME.1]}` for a value that is not known yet, and replaces all text of this form; if it
cannot, synthesis fails with an error that does not name the place. CloudFormation replaces dynamic references
such as `{{resolve:secretsmanager:NAME}}` in all properties, after `Fn::Join` and `Fn::Sub`, so that no
template can contain one as text. A stranger's file could copy the account's secrets into one of its variables
that way. (AWS CloudFormation user guide, "Get values stored in other services using dynamic references".
References with a space after the braces are not replaced: cfn-lint, W1053.)
"""

from __future__ import annotations

import re
from typing import Final

from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.findings import Findings

_REPLACED: Final = (
    (
        re.compile(r"[$#]\{Token\["),
        "is a token of the CDK, which replaces it",
        "write it differently, with a space after the `{`",
    ),
    (
        # Without its end, which may come from another value when two values are joined.
        re.compile(r"\{\{resolve:"),
        "starts a dynamic reference, which CloudFormation replaces",
        "let the script read the value from AWS, or write a space after `{{` to keep the text",
    ),
)


def refuse_marks(findings: Findings) -> None:
    """Reports each value and each key that contains a token or a dynamic reference."""
    found: list[tuple[PathInFile, object, bool]] = [((), findings.document.data, False)]
    while found and not findings.full:
        path, value, is_key = found.pop()
        if isinstance(value, dict):
            found += [((*path, key), key, True) for key in value]
            found += [((*path, key), item, False) for key, item in value.items()]
        elif isinstance(value, list):
            found += [((*path, index), item, False) for index, item in enumerate(value)]
        elif isinstance(value, str):
            for pattern, meaning, advice in _REPLACED:
                if mark := pattern.search(value):
                    findings.error(
                        "FDL037",
                        f"{quoted(mark[0])} {meaning}",
                        path,
                        expected="other text",
                        help=advice,
                        on_key=is_key,
                    )
                    break
