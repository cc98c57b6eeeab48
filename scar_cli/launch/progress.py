"""The progress of a launch, from the journal that its process may still be writing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdl_schemas.stages import staged
from scar_cli.errors import UserError
from scar_cli.launch.journal import head_of


@dataclass
class LaunchProgress:
    """Events of a launch, as far as its journal was read."""

    path: Path
    head: dict[str, Any]
    function: str
    """Its name, as deployed."""
    files: int = 0
    """Files whose events were sent or are about to be sent."""
    is_over: bool = False
    """All events were accepted, or the launch was stopped."""
    _position: int = 0

    @classmethod
    def of(cls, path: Path) -> LaunchProgress:
        """Read a journal.

        Raises:
            UserError: it does not exist, or is not a journal.
        """
        head = head_of(path)
        progress = cls(path, head, staged(str(head["function"]), head["options"]["stage"]))
        progress.read_on()
        return progress

    @property
    def since_ms(self) -> int:
        """When it began, in milliseconds since 1970."""
        return int(self.head["since_ms"])

    def has(self, subject: str) -> bool:
        """Whether a file, named as in the log of the runner, is in a folder of the launch."""
        return any(subject.startswith(f"s3://{bucket}/{prefix}") for bucket, prefix in self.head["sources"])

    def read_on(self) -> None:
        """Read the lines that were added since the last call. An incomplete last line is read later.

        Raises:
            UserError: the journal was damaged, or replaced by another file.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self._position)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._take(line)
                    self._position += len(line)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UserError(
                f"The journal {self.path} cannot be read", "scar-launch prints the path of its journal"
            ) from None

    def _take(self, line: bytes) -> None:
        if line[:1] != b"{":
            int(line)  # the number of an accepted event
            return
        content = json.loads(line)
        if "send" in content:
            self.files += len(content["send"])
        elif "resumed" in content:
            self.files -= len(content["gone"])
            self.is_over = False
        elif "stopped" in content or "finished" in content:
            self.is_over = True
