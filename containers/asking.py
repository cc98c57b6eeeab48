"""The process that sends requests to registries and AWS, as error messages name it.

The same code pulls an image for a function in pulled mode, for the assembler of a deployment, and for the
embedded cloud. A process that is not a function's calls `this_process_is` once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Asker:
    """One of those who ask, in words that fit into a sentence."""

    name: str
    identity: str
    """The identity that needs permissions."""
    network: str
    """A fact about its network, as a clause."""
    later: str
    """What follows a temporary failure, as a sentence without its full stop."""


FUNCTION = Asker(
    "the function",
    "the function's role",
    "a function in a VPC needs a route to the internet",
    "The event will be retried",
)
ASSEMBLER = Asker(
    "the assembler",
    "the assembler's role",
    "the assembler is outside your VPC and connects over the internet",
    "Deploy again",
)
EMBEDDED_CLOUD = Asker(
    "this machine",
    "this machine's AWS credentials",
    "this machine must be able to connect",
    "Submit the job again",
)

_here = FUNCTION


def asker() -> Asker:
    """The description of this process."""
    return _here


def this_process_is(who: Asker) -> None:
    """Have error messages name `who`."""
    global _here  # noqa: PLW0603 (a process is one of them for all of its life)
    _here = who
