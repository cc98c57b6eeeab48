"""Items of DynamoDB tables, each an item of the store; snapshots contain only the tables.

All changes of a call, such as those of TransactWriteItems, are committed together before it is answered, or
none of them. ministack runs one call after the other, so a condition is checked and the item is written at
once.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from ministack.core import persistence
from ministack.core.responses import AccountRegionScopedDict
from ministack.services import dynamodb

from local_cloud.patches import Original, replaces
from local_cloud.state.store import Store

_Table = dict[str, Any]
_KIND = "item"
_WRITES = (
    *("_put_item", "_update_item", "_delete_item", "_batch_write_item", "_transact_write_items"),
    *("_execute_statement", "_batch_execute_statement", "_execute_transaction"),
)
_EXPIRY = "dynamodb-ttl-reaper"
"""ministack's thread that deletes expired items."""
_log = logging.getLogger("dynamodb")


class TableItems:
    """The items in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def install(self) -> None:
        """Put ourselves around everything that changes items."""
        dynamodb._tables = _Tables(self._gone)

        for name in _WRITES:
            replaces(dynamodb, name)(self._commit_at_once)

        @replaces(dynamodb, "_set_item")
        def set_item(put: Original, table: _Table, hash_key: str, range_key: str, item: Any) -> Any:
            with self._store.transaction():
                before = put(table, hash_key, range_key, item)
                self._keep(table, hash_key, range_key, item)
            return before

        @replaces(dynamodb, "_remove_item")
        def remove_item(remove: Original, table: _Table, hash_key: str, range_key: str) -> Any:
            with self._store.transaction():
                if threading.current_thread().name == _EXPIRY and not _is_expired(table, hash_key, range_key):
                    return None  # it was written again in the meantime
                self._store.remove(_KIND, _key(table, hash_key, range_key))
                return remove(table, hash_key, range_key)

        @replaces(dynamodb, "_items_replaced")
        def items_replaced(replace: Original, table: _Table) -> None:
            with self._store.transaction():
                replace(table)
                self._gone(table)
                for hash_key, items in table["items"].items():
                    for range_key, item in items.items():
                        self._keep(table, hash_key, range_key, item)

        @replaces(dynamodb, "get_state")
        def state_without_items(get_state: Original) -> Any:
            tables = dynamodb._tables
            dynamodb._tables = AccountRegionScopedDict()
            for key, table in tables.all_items():
                dynamodb._tables._data[key] = {**table, "items": {}}
            try:
                return get_state()
            finally:
                dynamodb._tables = tables

        @replaces(dynamodb, "reset")
        def reset_all(reset: Original) -> None:
            with self._store.transaction():
                reset()
                self._store.remove_below(_KIND, "")

    def restore(self) -> None:
        """Put all items back into their tables, when the snapshot is loaded."""
        tables = {table["TableArn"]: table for table in dynamodb._tables.all_values()}
        for key, value in self._store.items(_KIND):
            arn, _space, keys = key.partition(" ")
            if arn not in tables:
                _log.warning("an item is dropped: its table %s no longer exists", arn)
                self._store.remove(_KIND, key)
                continue
            hash_key, range_key = json.loads(keys)
            item = json.loads(value, object_hook=persistence._json_object_hook)
            tables[arn]["items"][hash_key][range_key] = item
        for table in tables.values():
            dynamodb._update_counts(table)

    def _commit_at_once(self, act: Original, *arguments: Any) -> Any:
        with self._store.transaction():
            return act(*arguments)

    def _keep(self, table: _Table, hash_key: str, range_key: str, item: Any) -> None:
        text = json.dumps(item, default=persistence._json_default)
        self._store.put(_KIND, _key(table, hash_key, range_key), text)

    def _gone(self, table: _Table) -> None:
        self._store.remove_below(_KIND, f"{table['TableArn']} ")


class _Tables(AccountRegionScopedDict):  # type: ignore[misc]
    """ministack's records of tables."""

    def __init__(self, gone: Callable[[_Table], None]) -> None:
        super().__init__()
        self._gone = gone

    def __setitem__(self, name: str, table: _Table) -> None:
        if (before := self.get(name)) is not None and before is not table:
            self._gone(before)
        super().__setitem__(name, table)

    def pop(self, name: str, *default: Any) -> Any:
        table = super().pop(name, *default)
        if isinstance(table, dict):
            self._gone(table)
        return table


def _key(table: _Table, hash_key: str, range_key: str) -> str:
    return f"{table['TableArn']} {json.dumps([hash_key, range_key])}"


def _is_expired(table: _Table, hash_key: str, range_key: str) -> bool:
    _arn, _partition, _service, region, account, name = table["TableArn"].split(":", 5)
    setting = dynamodb._ttl_settings.get_scoped(account, region, name.removeprefix("table/")) or {}
    value = table["items"].get(hash_key, {}).get(range_key, {}).get(setting.get("AttributeName"))
    try:
        return float(dynamodb._extract_key_val(value)) <= time.time()
    except ValueError:
        return False
