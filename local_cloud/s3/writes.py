"""Objects are written completely, or not at all, even if the cloud is killed.

Content and metadata are written to two temporary files before the first is renamed (ministack writes and
renames one after the other). The files of a killed cloud show whether the object was complete, and the next
start completes or removes it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_META, _PARTIAL = ".meta.json", ".tmp"


def finish_interrupted(objects: Path) -> None:
    """Complete or remove what a killed cloud was writing. Must be called before ministack reads the
    folder."""
    for folder, _folders, names in os.walk(objects):
        here, partial = Path(folder), {name for name in names if name.endswith(_PARTIAL)}
        for name in sorted(partial):
            file = here / name
            if not name.endswith(_META + _PARTIAL):
                file.unlink()
                continue
            content = name.removesuffix(_META + _PARTIAL)
            if content + _PARTIAL in partial or not (here / content).exists() or not _is_whole(file):
                file.unlink()
            else:  # the content has been renamed already
                file.replace(here / (content + _META))


def install() -> None:
    """Take the place of ministack's writing."""
    from ministack.services import s3

    from local_cloud.state.store import not_saved

    def persist_object(bucket: str, key: str, record: dict[str, Any]) -> None:
        path = Path(s3._object_disk_path(bucket, key))
        meta = path.with_name(path.name + _META)
        content = record.get("body")  # None if only the metadata has changed
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if content is not None:
                _write(_partial(path), content)
            told = {**s3._object_meta_from_record(record), **s3._key_history_meta(bucket, key), "key": key}
            _write(_partial(meta), json.dumps(told).encode())
            if content is not None:
                _partial(path).replace(path)
            _partial(meta).replace(meta)
        except OSError as error:
            _partial(path).unlink(missing_ok=True)
            _partial(meta).unlink(missing_ok=True)
            if (failed := not_saved.get()) is not None:
                failed.append(str(error))
            raise
        record["body"] = None  # it is read from disk from here on
        bucket_folder = str(Path(s3.DATA_DIR) / s3.get_account_id() / bucket)
        s3._remove_key_files(s3._other_key_disk_path(bucket_folder, key, str(path)))

    s3._persist_object = persist_object


def _partial(path: Path) -> Path:
    return path.with_name(path.name + _PARTIAL)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _is_whole(meta: Path) -> bool:
    try:
        return isinstance(json.loads(meta.read_bytes()), dict)
    except ValueError:
        return False
