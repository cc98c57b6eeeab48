"""Large values of the emulator's services are files next to the snapshots, which have only their hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.emulator_programs import result_of

START = """
import json, os, sys
folder, content = sys.argv[1], os.urandom(1_000) * 1_000
os.environ.update(STATE_DIR=folder + "/services", PERSIST_STATE="1", GATEWAY_PORT="4566", LOG_LEVEL="ERROR")
from pathlib import Path
from local_cloud.state.saving import Snapshots
from local_cloud.state.store import Store
import ministack.app
from ministack.services import lambda_svc
store, blobs = Store(Path(folder) / "state.db"), Path(lambda_svc.CODE_BLOB_DIR)
snapshots = Snapshots(store)
snapshots.install([])
ministack.app._load_persisted_state()

def state():
    layers = {name: layer["versions"][0]["_zip_data"] for name, layer in lambda_svc._layers.items()}
    functions = {name: function["code_zip"] for name, function in lambda_svc._functions.items()}
    return {
        "contents": sorted(len(content) for content in (*layers.values(), *functions.values())),
        "files": sorted(path.stat().st_size for path in blobs.glob("*.zip")),
        "snapshot": sum(len(text) for _, text in store.items("service")),
    }
"""
CHANGE = """
lambda_svc._layers["large"] = {"versions": [{"Version": 1, "_zip_data": content}]}
lambda_svc._layers["small"] = {"versions": [{"Version": 1, "_zip_data": b"small"}]}
lambda_svc._functions["function"] = {"code_zip": content[:500_000]}
snapshots.save()
"""


def run(folder: Path, statements: str) -> Any:
    """The state after some statements in a new process, which ends without saving again."""
    end = "\nprint(json.dumps(state()), flush=True)\n"
    return result_of(START + statements + end, str(folder))


def test_large_values_are_files_and_come_back(tmp_path: Path) -> None:
    saved = run(tmp_path, CHANGE)
    assert saved["contents"] == [5, 500_000, 1_000_000]
    assert saved["files"] == [500_000, 1_000_000]
    assert saved["snapshot"] < 100_000
    assert run(tmp_path, "") == saved


def test_a_file_is_written_once_and_removed_when_no_snapshot_names_it(tmp_path: Path) -> None:
    run(tmp_path, CHANGE)
    again = """
calls = []
hashed = lambda_svc.hashlib.sha256
counting = {"sha256": staticmethod(lambda given: calls.append(given) or hashed(given))}
lambda_svc.hashlib = type("Counting", (), counting)
for _ in range(3):
    snapshots.save()
assert len(calls) == 2, "each of the two is hashed once"
lambda_svc.get_state = lambda: json.loads("not JSON")
lambda_svc._layers.clear()
snapshots.save()
assert len(state()["files"]) == 2, "the snapshot on disk names them"
"""
    run(tmp_path, again)
    assert run(tmp_path, "")["contents"] == [5, 500_000, 1_000_000]
    assert run(tmp_path, "lambda_svc._layers.clear(); snapshots.save()")["files"] == [500_000]
