"""Proposals for all functions of an overview, for `scar advise` and for reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fdl_schemas.model import Container, Function
from fdl_schemas.prices.table import Prices
from scar_cli.advice.proposals import Advice, Proposal, advice_of, sizes_of
from scar_cli.runs.summary import Overview

_MIB = 1024**2
_MEMORY = {("lambda", "memory"): "memory", ("batch", "memory"): "memory_batch"}


def advice_for(overview: Overview, functions: Mapping[str, Function], prices: Prices) -> list[Advice]:
    """The advice for each function of the overview; `functions` by the names of deployed functions."""
    return [
        advice_of(
            functions[numbers.function.name],
            numbers,
            [one for one in overview.failures.values() if one.function == number],
            prices.of(numbers.function.region),
        )
        for number, numbers in enumerate(overview.functions)
    ]


def advice_in_report(
    overview: Overview, functions: Mapping[str, Function], prices: Prices
) -> dict[str, dict[str, Any]]:
    """For the document: sentences, and the proposed memory on Lambda and in Batch, by function.

    Without an FDL file, `functions` is empty, and only the memory of functions on Lambda is proposed.
    """
    found: dict[str, dict[str, Any]] = {}
    for number, numbers in enumerate(overview.functions):
        name = numbers.function.name
        failures = [one for one in overview.failures.values() if one.function == number]
        regional = prices.of(numbers.function.region)
        proposals: tuple[Proposal, ...] = ()
        memory = numbers.memory.get("lambda")
        if name in functions:
            proposals = advice_of(functions[name], numbers, failures, regional).proposals
        elif memory is not None and memory.given:
            given_mib = round(memory.given.most_common(1)[0][0] / _MIB)
            as_deployed = Function(name, Container("deployed"), memory_mib=given_mib)
            proposals = tuple(sizes_of(as_deployed, numbers, failures, regional))
        found[name] = {"sentences": [_sentence(one) for one in proposals]}
        found[name] |= {_MEMORY[one.path]: int(one.proposed) for one in proposals if one.path in _MEMORY}
    return found


def _sentence(proposal: Proposal) -> str:
    return f"{'.'.join(proposal.path)}: {proposal.proposed} instead of {proposal.now}. {proposal.reason}"
