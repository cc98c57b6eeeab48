"""The results of engine probes, kept in the store: they are read in well under a millisecond."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from containers.bounded_json import read_json
from containers.engines.contract import ENGINE_NAMES


def forget_engine(store: Path) -> None:
    """Probe again next time: the result is no longer valid."""
    for memory in store.glob("engine*.json"):
        memory.unlink(missing_ok=True)


def circumstances_of(override: str | None) -> dict[str, str]:
    """What a result depends on: the store may be on a file system that machines share, or outlive a
    deployment."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    tools = ("SCAR_UDOCKER_TOOLS", "UDOCKER_DIR", "UDOCKER_FAKECHROOT_SO", "UDOCKER_USE_PROOT_EXECUTABLE")
    return {
        "boot": boot,
        "user": str(os.geteuid()),
        "override": override or "",
        "runner": __file__,
        "namespaces": " ".join(_namespace_ids()),
        **{name: os.environ.get(name, "") for name in tools},
    }


def _namespace_ids() -> list[str]:
    """A jail on the same machine has its own namespaces, and may deny what the machine allows."""
    ids: list[str] = []
    for name in ("user", "mnt"):
        try:
            ids.append(str(Path(f"/proc/self/ns/{name}").readlink()))
        except OSError:
            ids.append("")
    return ids


def _memory(store: Path, circumstances: Mapping[str, str]) -> Path:
    # One for each override, as the embedded cloud's containers and the runner share a store.
    override = circumstances["override"]
    return store / (f"engine-{override}.json" if override else "engine.json")


def recall(store: Path, circumstances: Mapping[str, str]) -> tuple[str, dict[str, str]] | None:
    """The name of the engine and its details, if they were found under these circumstances."""
    try:
        with _memory(store, circumstances).open("rb") as file:
            # In a shared /tmp, another user could have put a file there that names their own program.
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            content = read_json(file.read())
        if content["circumstances"] == circumstances and content["engine"] in ENGINE_NAMES:
            return content["engine"], {str(k): str(v) for k, v in content["details"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    return None


def remember(store: Path, circumstances: Mapping[str, str], name: str, details: Mapping[str, str]) -> None:
    """Keep the name of the engine and its details; if that fails, the next run probes again."""
    memory = _memory(store, circumstances)
    temporary = memory.with_suffix(f".{secrets.token_hex(4)}")
    try:
        store.mkdir(parents=True, exist_ok=True)
        temporary.write_text(
            json.dumps({"circumstances": dict(circumstances), "engine": name, "details": dict(details)})
        )
        temporary.replace(memory)
    except OSError:  # then the next run probes again
        temporary.unlink(missing_ok=True)
