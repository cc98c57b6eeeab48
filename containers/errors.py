"""Errors for people, and how untrusted text is shown in them."""

from __future__ import annotations

from enum import StrEnum

LONGEST_TEXT = 2000
"""Characters of a cause, an advice, or one line of the container in an error."""
LONGEST_STORY = 16_000
"""Maximum characters of the error of a failed invocation, which the failure queue keeps with the event."""


def shown(text: str, longest: int = LONGEST_TEXT) -> str:
    """Untrusted text as one line for people.

    Registries, servers and scripts can put anything into their messages: 800 KB, or escape sequences that
    move a terminal's cursor, split log lines, or reverse text. Control characters other than tabs are shown
    as `\\x1b`; of a long text, the beginning and the end are kept.
    """
    if len(text) <= longest and text.isprintable():
        return text
    text = _shortened(text, longest)
    return _shortened("".join(map(_visible, text)), longest)


def shown_lines(text: str) -> str:
    """The same for several lines; of many, the last ones are kept."""
    lines = "\n".join(shown(line) for line in text[-2 * LONGEST_STORY :].split("\n"))
    return lines if len(lines) <= LONGEST_STORY else "[…] " + lines[-LONGEST_STORY:]


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 500]} […] {text[-494:]}"


def _visible(character: str) -> str:
    if character == "\t" or character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


class ErrorKind(StrEnum):
    """Stable identifiers in logs, results and the answers of the embedded cloud."""

    EXPLAINED = "ExplainedError"
    """None of those below."""

    # Of the deployment, or of the request
    MISCONFIGURED = "Misconfigured"
    BAD_CONFIGURATION = "BadConfiguration"
    BAD_EVENT = "BadEvent"
    BAD_REQUEST = "BadRequest"
    METHOD_NOT_ALLOWED = "MethodNotAllowed"
    EVENT_TOO_LARGE = "EventTooLarge"
    EVENT_UNAVAILABLE = "EventUnavailable"
    SECRET_UNAVAILABLE = "SecretUnavailable"  # noqa: S105 (no secret itself)
    BAD_PACKAGE = "BadPackage"
    OTHER_PACKAGE_TYPE = "OtherPackageType"

    # Of an image
    NO_IMAGE = "NoImage"
    INVALID_REFERENCE = "InvalidReference"
    IMAGE_NOT_FOUND = "ImageNotFound"
    IMAGE_PRIVATE = "ImagePrivate"
    IMAGE_TOO_LARGE = "ImageTooLarge"
    BAD_IMAGE = "BadImage"
    DIGEST_MISMATCH = "DigestMismatch"
    UNSAFE_IMAGE = "UnsafeImage"
    UNREADABLE_FILES = "UnreadableFiles"
    UNSUPPORTED_IMAGE = "UnsupportedImage"
    WRONG_ARCHITECTURE = "WrongArchitecture"
    NO_COMMAND = "NoCommand"
    NO_INTERPRETER = "NoInterpreter"
    UNKNOWN_USER = "UnknownUser"

    # Of a registry
    PULL_LIMIT = "PullLimit"
    PUSH_REFUSED = "PushRefused"
    REGISTRY_ERROR = "RegistryError"
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"

    # Of the machine that the container runs on
    BAD_LIMITS = "BadLimits"
    CANNOT_START = "CannotStart"
    DISK_FULL = "DiskFull"
    ENGINE_FAILED = "EngineFailed"
    ENGINE_UNSUITABLE = "EngineUnsuitable"
    NO_ENGINE = "NoEngine"
    STORE_UNUSABLE = "StoreUnusable"
    SYSTEM_ERROR = "SystemError"

    # Of a run
    SCRIPT_FAILED = "ScriptFailed"
    OUT_OF_MEMORY = "OutOfMemory"
    TIMED_OUT = "TimedOut"
    ANSWER_TOO_LARGE = "AnswerTooLarge"
    HAND_ON_FAILED = "HandOnFailed"
    SUBMIT_FAILED = "SubmitFailed"
    IN_PROGRESS = "InProgress"
    CLAIM_UNAVAILABLE = "ClaimUnavailable"
    INTERNAL_ERROR = "InternalError"

    # Of storage
    UNKNOWN_STORAGE = "UnknownStorage"
    INPUT_MISSING = "InputMissing"
    DOWNLOAD_FAILED = "DownloadFailed"
    OUTPUT_FOLDER_GONE = "OutputFolderGone"
    OUTPUT_NAME = "OutputName"
    OUTPUT_UNREADABLE = "OutputUnreadable"
    UPLOAD_FAILED = "UploadFailed"
    STORAGE_FULL = "StorageFull"
    STORAGE_REFUSED = "StorageRefused"

    @property
    def retryable(self) -> bool:
        """Whether the same event may succeed another time; a job in Batch is tried again then."""
        return self not in (ErrorKind.MISCONFIGURED, ErrorKind.BAD_EVENT)


class ExplainedError(Exception):
    """A run failed for a reason with an explanation for people.

    `cause` is a sentence without its full stop; `advice` says what to do, or is empty; both may quote
    untrusted text (see `shown`).
    """

    def __init__(self, cause: str, *, advice: str = "", kind: ErrorKind = ErrorKind.EXPLAINED) -> None:
        self.cause, self.advice = shown(cause), shown(advice)
        super().__init__(f"{self.cause}. {self.advice}".strip() if advice else self.cause)
        self.kind = kind


def store_unusable(problem: str, error: OSError, advice: str = "") -> ExplainedError:
    """The error for a folder below SCAR_STORE that cannot be used."""
    advice = advice or "Set SCAR_STORE to a folder that this user may write to"
    return ExplainedError(f"{problem}: {error.strerror}", advice=advice, kind=ErrorKind.STORE_UNUSABLE)
