"""The rule about `*`: FDL has no patterns, so a name with `*` usually matches no file."""

from __future__ import annotations

from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.model import Function, OscarService, StorageEntry
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.findings import Findings

_STAR = "*"


def warn_of_patterns(step: Function | OscarService, path: PathInFile, findings: Findings) -> None:
    """Warns of `*` in paths and filters of the function, or of the OSCAR service, at `path`."""
    for key, entries in (("input", step.inputs), ("output", step.outputs)):
        for index, entry in enumerate(entries):
            at = (*path, key, index)
            if findings.is_whole(at):
                _look_at_path(entry, (*at, "path"), findings)
                _look_at_filter(entry.suffixes, "end", (*at, "suffix"), findings)
                _look_at_filter(entry.prefixes, "start", (*at, "prefix"), findings)


def _look_at_path(entry: StorageEntry, path: PathInFile, findings: Findings) -> None:
    if _STAR in entry.folder:
        above = f"{entry.bucket}/{entry.folder.partition(_STAR)[0]}".rpartition("/")[0]
        advice = f"write {quoted(above, 200)}, and filter file names with `suffix` or `prefix`"
        _warn(str(entry), "the name of a folder, without `*`", advice, path, findings)


def _look_at_filter(texts: tuple[str, ...], where: str, path: PathInFile, findings: Findings) -> None:
    is_list = isinstance(findings.document.node(path).data, list)
    for number, text in enumerate(texts):
        if _STAR in text:
            name = text.strip(_STAR)
            advice = f"write {quoted(name)}" if name else "remove the filter: without one, all names match"
            expected = f"the {where} of a file name, without `*`"
            _warn(text, expected, advice, (*path, number) if is_list else path, findings)


def _warn(text: str, expected: str, advice: str, path: PathInFile, findings: Findings) -> None:
    findings.warning(
        "FDL055", f"`*` in {quoted(text)} is not a wildcard", path, expected=expected, help=advice
    )
