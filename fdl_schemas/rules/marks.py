"""The rule about text that is replaced on its way to AWS, wherever it is in the file.

The CDK writes `${Token[NAME.1]}` where a value is not known yet, and replaces whatever looks like it, or the
whole synthesis ends with an error that does not say where. CloudFormation replaces dynamic references such as
`{{resolve:secretsmanager:NAME}}` in all properties, after `Fn::Join` and `Fn::Sub`, so that no template can
hold one as text. A stranger's file could read the account's secrets into a variable of its own that way. (AWS
CloudFormation user guide, "Get values stored in other services using dynamic references". What has a blank
behind the braces is left alone: cfn-lint, W1053.)
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
        "is how the CDK marks values of its own",
        "write it in another way, such as with a blank after the `{`",
    ),
    (
        # Without its end: where two values are joined, the end may come from the other one.
        re.compile(r"\{\{resolve:"),
        "begins a dynamic reference, which CloudFormation replaces",
        "let the script read the value from AWS; with a blank after `{{` it stays text",
    ),
)


def refuse_marks(findings: Findings) -> None:
    """Notes an error for each text, and each name of a key, that holds a mark or a dynamic reference."""
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
                        expected="text without it",
                        help=advice,
                        on_key=is_key,
                    )
                    break
