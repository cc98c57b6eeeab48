"""The rule about `*`: people write patterns where the language has names, and then nothing ever matches."""

from __future__ import annotations

from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.model import Function, OscarService, StorageEntry
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.findings import Findings

_STAR = "*"


def warn_of_patterns(station: Function | OscarService, path: PathInFile, findings: Findings) -> None:
    """Warns of a `*` in paths and filters of a function, or of an OSCAR service, that stands at `path`."""
    for key, entries in (("input", station.inputs), ("output", station.outputs)):
        for index, entry in enumerate(entries):
            at = (*path, key, index)
            if findings.is_whole(at):
                _look_at_path(entry, (*at, "path"), findings)
                _look_at_filter(entry.suffixes, "ends", (*at, "suffix"), findings)
                _look_at_filter(entry.prefixes, "starts", (*at, "prefix"), findings)


def _look_at_path(entry: StorageEntry, path: PathInFile, findings: Findings) -> None:
    if _STAR in entry.folder:
        above = f"{entry.bucket}/{entry.folder.partition(_STAR)[0]}".rpartition("/")[0]
        advice = f"write {quoted(above, 200)}, and how the names of files end under `suffix`"
        _warn(str(entry), "`path` is the name of a folder", advice, path, findings)


def _look_at_filter(texts: tuple[str, ...], where: str, path: PathInFile, findings: Findings) -> None:
    is_list = isinstance(findings.document.node(path).data, list)
    for number, text in enumerate(texts):
        if _STAR in text:
            name = text.strip(_STAR)
            advice = f"write {quoted(name)}" if name else "remove it: without a filter all names pass"
            meaning = f"`{path[-1]}` is how a name {where}"
            _warn(text, meaning, advice, (*path, number) if is_list else path, findings)


def _warn(text: str, meaning: str, advice: str, path: PathInFile, findings: Findings) -> None:
    findings.warning(
        "FDL055",
        f"the `*` of {quoted(text)} means itself: {meaning}, not a pattern",
        path,
        expected="a name without `*`",
        help=advice,
    )
