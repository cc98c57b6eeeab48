"""The document of `scar report` for the live page: written again when there are new runs, not too often."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.cost.spent import Costs
from scar_cli.report.document import Asked, document
from scar_cli.runs.model import Run
from scar_cli.runs.summary import Overview
from scar_cli.watch.state import Snapshot
from scar_cli.watch.web import Document

_WRITTEN_EVERY_S = 3.0
_SHARE = 0.05
"""Of the time, at most, for writing documents: with a million runs, one takes many seconds."""


class LiveDocument:
    """Collects runs, and writes the document."""

    def __init__(
        self,
        functions: Sequence[DeployedFunction],
        asked: Asked,
        costs: Costs | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`costs` must have the runs already that are added here."""
        self._overview = Overview(functions, costs.of if costs is not None else None)
        self._costs = costs
        self._asked = asked
        self._now = now
        self._due_at = 0.0
        self._queues: dict[str, int] | None = None
        self._has_news = True

    def add(self, run: Run) -> None:
        """Add a run that ended.

        Raises:
            UserError: the disk is full.
        """
        self._overview.add(run)
        self._has_news = True

    def written(self, found: Snapshot) -> Document | None:
        """The document with the failure queues of a snapshot; None: nothing is new, or it is too early.

        Raises:
            UserError: the disk is full.
        """
        queues = {one.function: one.queues.failure_queue for one in found.functions}
        began = self._now()
        if began < self._due_at or not (self._has_news or queues != self._queues):
            return None
        costs = self._costs.in_report() if self._costs is not None else {}
        content = document(self._overview, self._asked, queues=queues, **costs)
        took_s = self._now() - began
        self._due_at = began + took_s + max(_WRITTEN_EVERY_S, took_s / _SHARE)
        self._queues, self._has_news = queues, False
        return content
