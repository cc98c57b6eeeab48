"""Lines of CloudWatch Logs: each call that adds lines is an item of the store, committed before its answer.

Snapshots contain only the log groups.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region, request_scope
from ministack.services import cloudwatch_logs as logs

from local_cloud.logs import embedded_metrics
from local_cloud.patches import Original, replaces
from local_cloud.state.store import Store

_KIND = "log"
_OTHERS = (
    "destinations",
    "resource_policies",
    "log_group_policies",
    "metric_filters",
    "queries",
    "delivery_sources",
    "delivery_destinations",
    "deliveries",
)
"""Other data of the service in ministack."""
_OK = 200


class LogEvents:
    """The lines in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._append: Callable[[dict[str, Any], list[dict[str, Any]]], None] = logs._append_log_events

    def install(self) -> None:
        """Replace the functions that add and delete lines."""

        @replaces(logs, "_create_log_stream")
        def create_log_stream(create: Original, data: dict[str, Any]) -> Any:
            answer = create(data)
            if answer[0] == _OK:
                self.save(data["logGroupName"], data["logStreamName"], [])
            return answer

        @replaces(logs, "_append_log_events")
        def append_log_events(append: Original, stream: dict[str, Any], events: list[dict[str, Any]]) -> None:
            append(stream, events)
            embedded_metrics.record(events)
            if events and (names := _names(stream)) is not None:
                self.save(*names, events)

        @replaces(logs, "reset")
        def reset_all(reset: Original) -> None:
            self._store.remove_below(_KIND, "")
            reset()

        @replaces(logs, "_forget_log_records_for_group")
        @replaces(logs, "_forget_log_records_for_stream")
        def forget_everywhere(forget: Original, *names: str) -> None:
            self._store.remove_below(_KIND, _prefix(*names))
            forget(*names)

        logs.get_state = _state_without_lines

    def restore(self) -> None:
        """Put all lines back into their streams, when the snapshot is loaded."""
        for _key, value in self._store.items(_KIND):
            kept = json.loads(value)
            with request_scope(kept["account"], kept["region"]):
                group = logs._log_groups.get(kept["group"])
                if group is None:  # made after the last snapshot
                    logs._create_log_group({"logGroupName": kept["group"]})
                    group = logs._log_groups[kept["group"]]
                stream = group["streams"].setdefault(kept["stream"], _new_stream(kept["created"]))
                self._append(stream, kept["events"])
                for event in kept["events"]:
                    if pointer := event.get("eventId"):
                        logs._log_records[pointer] = logs._build_log_record(
                            ptr=pointer,
                            timestamp_ms=event["timestamp"],
                            message=event["message"],
                            log_group=kept["group"],
                            log_stream=kept["stream"],
                        )

    def show(self, stream: dict[str, Any], events: list[dict[str, Any]]) -> None:
        """Add lines to a stream in memory. Call `save` to keep them in the store."""
        self._append(stream, events)
        embedded_metrics.record(events)

    def save(self, group: str, stream: str, events: list[dict[str, Any]]) -> None:
        """Keep lines of a stream in the store."""
        kept = {
            "account": get_account_id(),
            "region": get_region(),
            "group": group,
            "stream": stream,
            "created": logs._log_groups[group]["streams"][stream]["creationTime"],
            "events": events,
        }
        self._store.put(_KIND, _prefix(group, stream) + self._store.new_key(), json.dumps(kept))


def _prefix(*names: str) -> str:
    # Neither groups nor streams have a colon in their names.
    return "".join(f"{name}:" for name in (get_account_id(), get_region(), *names))


def _names(stream: dict[str, Any]) -> tuple[str, str] | None:
    """Group and name of a stream, by its record. Lines are mostly added to streams that were made lately."""
    for group, record in reversed(list(logs._log_groups.items())):
        streams = record["streams"]
        for name in reversed(list(streams)):
            if streams.get(name) is stream:
                return group, name
    return None


def _new_stream(created_ms: int) -> dict[str, Any]:
    return {
        "events": [],
        "uploadSequenceToken": "1",
        "creationTime": created_ms,
        "firstEventTimestamp": None,
        "lastEventTimestamp": None,
        "lastIngestionTime": None,
    }


def _state_without_lines() -> dict[str, Any]:
    groups = AccountRegionScopedDict()
    groups._data = {key: {**group, "streams": {}} for key, group in list(logs._log_groups._data.items())}
    return {"log_groups": groups, **{name: getattr(logs, f"_{name}") for name in _OTHERS}}
