"""The configuration of the deployed function: `function_config.json`, packaged next to the user's script.

`tests/function_config` contains examples that synthesis writes and this module reads.

It is read once for each execution environment. An error in it is a fault of the deployment, not of the event:
an `ExplainedError` of kind `Misconfigured` that names the file and the key.

`storage_providers` is an object; each key is the name that inputs and outputs use, `KIND.NAME`:

    {"minio.lab":   {"kind": "minio", "endpoint": "https://minio.example.org", "region": "us-east-1",
                     "verify": true, "access_key": FIELD, "secret_key": FIELD},
     "s3.partner":  {"kind": "s3", "region": "eu-west-1", "access_key": FIELD, "secret_key": FIELD},
     "webdav.home": {"kind": "webdav", "hostname": "https://dav.example.org/files",
                     "login": FIELD, "password": FIELD},
     "onedata.eosc": {"kind": "onedata", "oneprovider_host": "provider.example.org", "space": "My Space",
                      "token": FIELD}}

- `kind` repeats the part of the name before its first dot. Missing keys of `OPTIONAL` take their defaults:
  `region` the function's own (`s3`) or `us-east-1` (`minio`), `verify` true. Unknown keys are errors.
- `endpoint`, `hostname`, `oneprovider_host`: `HOST`, `HOST:PORT` or a URL, also with a path. HTTPS, unless it
  starts with `http://`. Without a user name, a password, `?` or `#`.
- FIELD is `{"secret": "NAME-OR-ARN"}`, a secret of the user in AWS Secrets Manager (ARN: in its own region,
  name: in the function's), or `{"stack_secret": true}`, in the secret whose ARN is the environment variable
  `SCAR_STORAGE_SECRET`: a JSON object `{"minio.lab": {"access_key": "…", "secret_key": "…"}, …}`.
  The value of a user's secret is its SecretString. If that is a JSON object, the value is its member with the
  name of the field (`access_key`, …), which must exist.
- `access_key` and `login` may be plain strings too. `secret_key`, `password` and `token` may not, because
  this file is stored unencrypted in a bucket.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from containers.bounded_json import read_json
from containers.errors import ErrorKind, ExplainedError
from runtime.assembled import EnclosingImage, assembled_image, wrong

FILE_NAME = "function_config.json"
VERSION = 1
MODES = ("lambda", "lambda-batch", "batch")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

REQUIRED = {
    "s3": ("access_key", "secret_key"),
    "minio": ("endpoint", "access_key", "secret_key"),
    "webdav": ("hostname", "login", "password"),
    "onedata": ("oneprovider_host", "token", "space"),
}
OPTIONAL = {"s3": ("region",), "minio": ("region", "verify")}
MAY_BE_SECRET = ("access_key", "login", "secret_key", "password", "token")
MUST_BE_SECRET = ("secret_key", "password", "token")


@dataclass(frozen=True, slots=True)
class StorageFolder:
    """One `input` or `output`: a folder of a bucket, with filters on the base names of its files."""

    provider: str
    bucket: str
    folder: str = ""
    prefixes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()

    @property
    def key_prefix(self) -> str:
        """The prefix of every key in the folder; empty for the whole bucket."""
        return f"{self.folder}/" if self.folder else ""

    def contains(self, provider: str, bucket: str, key: str) -> bool:
        """Whether the object is in the folder, or in a folder below it. Filters do not count."""
        return (self.provider, self.bucket) == (provider, bucket) and key.startswith(self.key_prefix)

    def accepts(self, base_name: str) -> bool:
        """Whether the filters match: one of the prefixes and one of the suffixes. An empty list matches every
        name."""
        return (not self.prefixes or base_name.startswith(self.prefixes)) and (
            not self.suffixes or base_name.endswith(self.suffixes)
        )

    def __str__(self) -> str:
        """As written in an FDL file."""
        return f"{self.bucket}/{self.folder}" if self.folder else self.bucket


@dataclass(frozen=True, slots=True)
class SecretField:
    """A setting whose value is kept in AWS Secrets Manager."""

    secret: str | None
    """Name or ARN of the user's secret; None: it is in the secret of the stack."""


@dataclass(frozen=True, slots=True)
class StorageConnection:
    """One connection of `storage_providers`."""

    name: str
    """As inputs and outputs name it: `KIND.NAME`."""
    settings: Mapping[str, str | SecretField] = field(repr=False)
    verify: bool = True
    """Whether the server's certificate is checked."""

    @property
    def kind(self) -> str:
        """`s3`, `minio`, `webdav` or `onedata`."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """Settings of the function's Batch jobs."""

    timeout_s: int
    attempts: int
    multi_node: bool = False
    """Each job runs on several nodes."""


@dataclass(frozen=True, slots=True)
class FunctionConfig:
    """Everything about the function that does not change from event to event."""

    name: str
    execution_mode: str
    log_level: str
    timeout_s: int
    timeout_threshold_s: int
    init_script: Path | None
    """Absolute path of the user's script on this machine."""
    extra_payload: Path | None
    """Absolute path of the folder of files that were packaged with the function."""
    image: str | None
    """Reference in a registry; None: the image is an archive, at `SCAR_IMAGE_FILE`."""
    container_environment: Mapping[str, str]
    inputs: tuple[StorageFolder, ...]
    outputs: tuple[StorageFolder, ...]
    batch: BatchSettings | None
    storage_providers: Mapping[str, StorageConnection] = field(default_factory=dict)
    file_systems: tuple[Path, ...] = ()
    """Where file systems of the function's owner are mounted; the container sees them at the same paths."""
    registry_credentials: str | None = None
    """Name or ARN of the secret with the registry's login; None: anonymous pulls (Amazon ECR: with the
    function's role)."""
    assembled: EnclosingImage | None = None
    """The user's image, if the runner is part of it; None: the runner pulls `image`."""
    once: bool = False
    """Whether each input object is processed only once."""


def load_config(environ: Mapping[str, str]) -> FunctionConfig:
    """Read `function_config.json` from `SCAR_FUNCTION_DIR`, else from `LAMBDA_TASK_ROOT`.

    Raises `ExplainedError` of kind `Misconfigured`.
    """
    folder = environ.get("SCAR_FUNCTION_DIR") or environ.get("LAMBDA_TASK_ROOT")
    if not folder:
        raise ExplainedError(
            "Neither SCAR_FUNCTION_DIR nor LAMBDA_TASK_ROOT is set",
            advice=f"One of them must name the folder that contains {FILE_NAME}.",
            kind=ErrorKind.MISCONFIGURED,
        )
    path = Path(folder).absolute() / FILE_NAME
    try:
        data = read_json(path.read_bytes())
    except FileNotFoundError:
        raise wrong(path, "the file does not exist") from None
    except (OSError, ValueError) as error:
        raise wrong(path, f"it cannot be read as JSON ({error})") from None
    return _Reader(path, data).function()


class _Reader:
    """Reads the keys one by one, so that an error can name the key and the expected value."""

    def __init__(self, path: Path, data: object) -> None:
        self._path = path
        self._data = self._is(data, dict, "the whole", "an object")
        version = self._take(self._data, "version", int, "a number")
        if version != VERSION:
            raise wrong(path, f"it has version {version}; this runner supports version {VERSION}")

    def function(self) -> FunctionConfig:
        data = self._data
        batch = self._optional(data, "batch", dict, "an object or null")
        providers = self._providers(data)
        return FunctionConfig(
            name=self._take(data, "name", str, "a string"),
            execution_mode=self._one_of(data, "execution_mode", MODES),
            log_level=self._one_of(data, "log_level", LOG_LEVELS),
            timeout_s=self._take(data, "timeout_s", int, "a number of seconds"),
            timeout_threshold_s=self._take(data, "timeout_threshold_s", int, "a number of seconds"),
            init_script=self._file(data, "init_script"),
            extra_payload=self._file(data, "extra_payload"),
            image=self._optional(data, "image", str, "a string or null"),
            registry_credentials=self._optional(data, "registry_credentials", str, "a string or null"),
            container_environment=self._variables(data, "container_environment"),
            inputs=self._folders(data, "inputs", providers),
            outputs=self._folders(data, "outputs", providers),
            storage_providers=providers,
            assembled=assembled_image(self._path.parent),
            once=self._is(data.get("once", False), bool, "once", "true or false"),
            file_systems=tuple(map(Path, self._strings(data.get("file_systems", []), "file_systems"))),
            batch=None
            if batch is None
            else BatchSettings(
                timeout_s=self._take(batch, "timeout_s", int, "a number of seconds", "batch."),
                attempts=self._take(batch, "attempts", int, "a number", "batch."),
                multi_node=self._is(
                    batch.get("multi_node", False), bool, "batch.multi_node", "true or false"
                ),
            ),
        )

    def _is(self, value: Any, kind: type, where: str, expected: str) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise wrong(self._path, f"{where}: expected {expected}, found {type(value).__name__}")
        return value

    def _take(self, data: dict[str, Any], key: str, kind: type, expected: str, where: str = "") -> Any:
        if key not in data:
            raise wrong(self._path, f"{where}{key} is missing; expected {expected}")
        return self._is(data[key], kind, where + key, expected)

    def _optional(self, data: dict[str, Any], key: str, kind: type, expected: str) -> Any:
        return None if data.get(key) is None else self._is(data[key], kind, key, expected)

    def _one_of(self, data: dict[str, Any], key: str, values: tuple[str, ...], where: str = "") -> str:
        value: str = self._take(data, key, str, " or ".join(values), where)
        if value not in values:
            raise wrong(self._path, f"{where}{key}: expected one of {', '.join(values)}, found {value!r}")
        return value

    def _file(self, data: dict[str, Any], key: str) -> Path | None:
        name: str | None = self._optional(
            data, key, str, "the name of a file beside the configuration, or null"
        )
        if name is None:
            return None
        path = self._path.parent / name
        if not path.exists():
            raise wrong(self._path, f"{key}: {path} does not exist")
        return path

    def _variables(self, data: dict[str, Any], key: str) -> dict[str, str]:
        found = self._optional(data, key, dict, "an object of strings") or {}
        for name, value in found.items():
            self._is(value, str, f"{key}.{name}", "a string")
        return dict(found)

    def _providers(self, data: dict[str, Any]) -> dict[str, StorageConnection]:
        entries = self._optional(data, "storage_providers", dict, "an object") or {}
        return {name: self._provider(name, entry) for name, entry in entries.items()}

    def _provider(self, name: str, entry: object) -> StorageConnection:
        where = f"storage_providers.{name}"
        data = self._is(entry, dict, where, "an object")
        kind = self._one_of(data, "kind", tuple(REQUIRED), where + ".")
        if not name.startswith(f"{kind}.") or name == f"{kind}.":
            raise wrong(self._path, f"{where}: expected a name like {kind}.NAME")
        known = (*REQUIRED[kind], *OPTIONAL.get(kind, ()))
        if unknown := sorted(data.keys() - {"kind", *known}):
            raise wrong(self._path, f"{where}.{unknown[0]}: unknown; expected {', '.join(known)}")
        settings = {
            key: self._field(data, key, where)
            for key in known
            if key != "verify" and (key in data or key in REQUIRED[kind])
        }
        verify = self._is(data.get("verify", True), bool, where + ".verify", "true or false")
        return StorageConnection(name, settings, verify)

    def _field(self, data: dict[str, Any], key: str, where: str) -> str | SecretField:
        """Messages never contain the value: it may be a misplaced secret."""
        value = data.get(key)
        if isinstance(value, str) and value and key not in MUST_BE_SECRET:
            return value
        if isinstance(value, dict) and key in MAY_BE_SECRET:
            name = value.get("secret")
            if value.keys() == {"secret"} and isinstance(name, str) and name:
                return SecretField(name)
            if value == {"stack_secret": True}:
                return SecretField(None)
        texts = () if key in MUST_BE_SECRET else ("a string",)
        places = ('{"secret": NAME-OR-ARN}', '{"stack_secret": true}') if key in MAY_BE_SECRET else ()
        raise wrong(self._path, f"{where}.{key}: expected {' or '.join((*texts, *places))}")

    def _folders(
        self, data: dict[str, Any], key: str, providers: Mapping[str, StorageConnection]
    ) -> tuple[StorageFolder, ...]:
        entries = self._optional(data, key, list, "a list") or []
        return tuple(self._folder(entry, f"{key}[{index}]", providers) for index, entry in enumerate(entries))

    def _folder(self, entry: object, where: str, providers: Mapping[str, StorageConnection]) -> StorageFolder:
        data = self._is(entry, dict, where, "an object")
        provider = self._take(data, "provider", str, "a string", where + ".")
        if provider != "s3" and provider not in providers:
            known = ", ".join(("s3", *providers))
            raise wrong(self._path, f"{where}.provider: expected one of {known}, found {provider!r}")
        return StorageFolder(
            provider=provider,
            bucket=self._take(data, "bucket", str, "a string", where + "."),
            folder=self._is(data.get("folder", ""), str, where + ".folder", "a string").strip("/"),
            prefixes=self._strings(data.get("prefixes", []), where + ".prefixes"),
            suffixes=self._strings(data.get("suffixes", []), where + ".suffixes"),
        )

    def _strings(self, value: object, where: str) -> tuple[str, ...]:
        items = self._is(value, list, where, "a list of strings")
        return tuple(self._is(item, str, where, "a list of strings") for item in items)
