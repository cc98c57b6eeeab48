"""Assembles an image that Lambda and Batch run from the user's image, in the target repository.

1. base: the user's layers, unchanged if possible, and a layer of corrections if needed. It is recorded
   under the image's name (`records`), so that later assemblies use it even if the tag has moved.
2. runner: the layer with the interpreter and the runner, shared by all functions.
3. function: the layer of the package, a configuration that starts the runner, and the manifest.

Nothing is pushed before the user's manifest and configuration have been checked, and no manifest before
all layers have been checked.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from containers.assembly.corrections import correct
from containers.assembly.errors import OutOfTime, rejected
from containers.assembly.file_tree import FileTree, missing_parents
from containers.assembly.function_layer import has_script, pack_function
from containers.assembly.layer_report import LayerReport
from containers.assembly.layer_writer import PackedLayer, directory_headers
from containers.assembly.records import CONFIG_TYPE, MANIFEST_TYPE, RecordedImage, Records, manifest_of
from containers.assembly.runner_layer import Runner
from containers.assembly.source import SourceImage, open_archive, open_reference
from containers.assembly.target import TargetRepository
from containers.assembly.transfer import Progress, transfer
from containers.errors import ErrorKind, ExplainedError
from containers.image.manifests import MAXIMUM_DOCUMENT_BYTES, Descriptor, broken
from containers.image.origin import Layer
from containers.store.pull import Log

LAYERS_AT_ONCE = 3

_SOURCE_DIGEST = "scar.source.digest"
_PROBLEM = "scar.problem"
_BASE_NAME = "org.opencontainers.image.base.name"
_BASE_DIGEST = "org.opencontainers.image.base.digest"
# Variables that would make our interpreter load files of the image. The script still receives them: its #
# environment is read from image_config.json.
_NOT_FOR_THE_RUNNER = ("LD_", "PYTHON", "GLIBC_", "MALLOC_", "GCONV_PATH", "LOCPATH", "NLSPATH")


@dataclass(frozen=True)
class Wanted:
    """What to assemble.

    Either `image` is a reference, or `archive` is the address of an archive (`s3://bucket/key`, or a path).
    `architecture` is OCI's name (`amd64`, `arm64`). The image's tag is resolved again if `refresh` changes.
    `package` is the zip of the function's package."""

    function: str
    package: Path | IO[bytes]
    architecture: str
    image: str | None = None
    archive: str | None = None
    mirrors: str = ""
    registry_credentials: str | None = None
    refresh: str = ""

    @property
    def source(self) -> str:
        """The image's name or the archive's address."""
        return self.image or self.archive or ""

    @property
    def key(self) -> str:
        """Identifies the base image in the records."""
        return f"{self.source} {self.architecture} {self.refresh}"

    def open(self, log: Log) -> AbstractContextManager[SourceImage]:
        """Open the source of the image."""
        if self.image:
            return open_reference(
                self.image,
                self.architecture,
                mirrors=self.mirrors,
                registry_credentials=self.registry_credentials,
                log=log,
            )
        if self.archive:
            return open_archive(self.archive, self.architecture)
        raise ExplainedError(
            "no image was given",
            advice="Set `container.image` or `container.image_file`",
            kind=ErrorKind.NO_IMAGE,
        )


@dataclass(frozen=True)
class Assembled:
    """The assembled image: the digest of its manifest, and that of the source image."""

    digest: str
    source_digest: str
    bytes_read: int
    bytes_sent: int


def assemble(
    wanted: Wanted,
    target: TargetRepository,
    runner: Runner,
    *,
    deadline: float | None = None,
    log: Log = lambda _message, _fields: None,
) -> Assembled:
    """Assemble the image. Raises ExplainedError, or OutOfTime if `deadline` (`time.monotonic`) is near: a
    later call continues from there."""
    progress = Progress(wanted.source, deadline)
    return _Assembly(wanted, target, runner, progress, log).run()


class _Assembly:
    def __init__(
        self, wanted: Wanted, target: TargetRepository, runner: Runner, progress: Progress, log: Log
    ) -> None:
        self._wanted = wanted
        self._target = target
        self._records = Records(target)
        self._runner = runner
        self._progress = progress
        self._log = log

    def run(self) -> Assembled:
        """All of it."""
        known = self._records.find_image("base", self._wanted.key)
        if known is not None:
            return self._finish(known, *self._runner_layer())
        with self._wanted.open(self._log) as source, concurrent.futures.ThreadPoolExecutor(1) as pool:
            self._log(
                "assembling image",
                {"image": source.what, "digest": source.digest, "layers": len(source.layers)},
            )
            runner_layer = pool.submit(self._runner_layer)
            base = self._base(source)
            return self._finish(base, *runner_layer.result())

    # -- the user's image

    def _base(self, source: SourceImage) -> RecordedImage:
        """The user's image, made acceptable, in the target."""
        reports = self._bring_layers(source)
        _check_hard_links(reports, source)
        corrections = correct(FileTree(reports), source.config, source.what)
        layers = [report.descriptor for report in reports]
        diff_ids = [report.diff_id for report in reports]
        if corrections.layer is not None:
            layers.append(self._push(corrections.layer))
            diff_ids.append(corrections.layer.diff_id)
        config = _with_layers(source.config, diff_ids, ["corrections"] if corrections.layer else [])
        annotations = {_SOURCE_DIGEST: source.digest, _PROBLEM: corrections.problem}
        base = RecordedImage(config, tuple(layers), annotations)
        self._records.keep_image("base", self._wanted.key, base)
        return base

    def _bring_layers(self, source: SourceImage) -> list[LayerReport]:
        unique = {layer.key: layer for layer in source.layers}
        with concurrent.futures.ThreadPoolExecutor(LAYERS_AT_ONCE) as pool:
            futures = {key: pool.submit(self._bring_layer, layer) for key, layer in unique.items()}
            self._first_error(futures.values())
        reports = [futures[layer.key].result() for layer in source.layers]
        for number, missing in enumerate(missing_parents(reports)):
            if missing:
                layer = source.layers[number]
                self._log("adding folders to a layer", {"layer": layer.key, "folders": len(missing)})
                reports[number] = self._bring_layer(layer, frozenset(missing))
        return reports

    def _bring_layer(self, layer: Layer, missing: frozenset[str] = frozenset()) -> LayerReport:
        key = f"{layer.key} {' '.join(sorted(missing))}"
        known = self._records.find_layer(key)
        if known is not None:
            self._progress.plain(str(layer), known.plain_bytes)
            return known
        self._progress.check()
        report = transfer(layer, self._target, self._progress, directory_headers(missing))
        if layer.diff_id and report.diff_id != layer.diff_id:
            raise ExplainedError(
                f"{layer} of {self._progress.what} is damaged: its content is {report.diff_id}",
                advice="Save the image again and deploy",
                kind=ErrorKind.DIGEST_MISMATCH,
            )
        self._records.keep_layer(key, report)
        return report

    def _first_error(self, futures: Sequence[concurrent.futures.Future[LayerReport]] | Any) -> None:
        """Wait for all. After the first failure, the others are stopped, and that failure is raised."""
        failure: BaseException | None = None
        for future in concurrent.futures.as_completed(futures):
            error = future.exception()
            if error is not None and (failure is None or isinstance(failure, OutOfTime)):
                failure = error
                self._progress.stopped.set()
        if failure is not None:
            raise failure

    # -- our layers

    def _runner_layer(self) -> tuple[Descriptor, str]:
        """The runner's layer in the target, and its diff id."""
        fingerprint = self._runner.fingerprint()
        known = self._records.find_image("runner", fingerprint)
        if known is not None:
            return known.layers[0], _diff_ids(known.config)[0]
        packed = self._runner.pack()
        descriptor = self._push(packed)
        config = {
            "architecture": self._wanted.architecture,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [packed.diff_id]},
        }
        self._records.keep_image("runner", fingerprint, RecordedImage(config, (descriptor,), {}))
        return descriptor, packed.diff_id

    def _push(self, layer: PackedLayer) -> Descriptor:
        descriptor = self._target.put_blob(layer.content, layer.descriptor.media_type)
        self._progress.count(sent=len(layer.content))
        return descriptor

    # -- the function's image

    def _finish(self, base: RecordedImage, runner_layer: Descriptor, runner_diff_id: str) -> Assembled:
        """Put the parts together and push the manifest."""
        problem = base.annotations.get(_PROBLEM)
        if problem and not has_script(self._wanted.package):
            raise rejected(
                problem,
                "Make it readable and executable for all users in the Dockerfile (RUN chmod a+rx FILE), or "
                "set `init_script`",
                ErrorKind.UNREADABLE_FILES,
            )
        function = pack_function(self._wanted.package, base.config)
        layers = [*base.layers, runner_layer, self._push(function)]
        diff_ids = [*_diff_ids(base.config), runner_diff_id, function.diff_id]
        config = _with_layers(base.config, diff_ids, ["runner", "function"])
        source_digest = base.annotations.get(_SOURCE_DIGEST, "")
        self._start_runner(config, source_digest)
        content = json.dumps(config, separators=(",", ":")).encode()
        if len(content) > MAXIMUM_DOCUMENT_BYTES:
            raise broken(f"the configuration of {self._wanted.source} is too large: {len(content)} bytes")
        descriptor = self._target.put_blob(content, CONFIG_TYPE)
        manifest = manifest_of(descriptor, layers)
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        self._target.put_manifest(_tag(self._wanted.function, digest), manifest, MANIFEST_TYPE)
        self._log("image assembled", {"digest": digest, "sent": self._progress.bytes_sent})
        return Assembled(digest, source_digest, self._progress.bytes_read, self._progress.bytes_sent)

    def _start_runner(self, config: dict[str, Any], source_digest: str) -> None:
        given = dict(config.get("config") or {})
        given["Entrypoint"] = list(self._runner.entry_point)
        given["Cmd"] = ["lambda"]
        given["Env"] = [line for line in given.get("Env") or () if not line.startswith(_NOT_FOR_THE_RUNNER)]
        labels = {_BASE_NAME: self._wanted.source, _BASE_DIGEST: source_digest}
        given["Labels"] = {**(given.get("Labels") or {}), **labels}
        config["config"] = given


def _check_hard_links(reports: Sequence[LayerReport], source: SourceImage) -> None:
    for number, report in enumerate(reports):
        if report.hard_links:
            below = FileTree(reports[: number + 1])
            for path, linked in report.hard_links.items():
                if below.look_up(linked) is None:
                    raise broken(
                        f"'/{path}' in {source.layers[number]} of {source.what} is a hard link to "
                        f"'/{linked}', which does not exist"
                    )


def _with_layers(config: Mapping[str, Any], diff_ids: Sequence[str], added: Sequence[str]) -> dict[str, Any]:
    """The configuration with these layers, the last of which were `added` by us. The history is extended if
    it matches the layers; tools reject one that does not."""
    result = dict(config)
    result["rootfs"] = {"type": "layers", "diff_ids": list(diff_ids)}
    history = result.pop("history", None)
    if isinstance(history, list):
        filled = [entry for entry in history if isinstance(entry, dict) and not entry.get("empty_layer")]
        if len(filled) == len(diff_ids) - len(added):
            result["history"] = [*history, *({"created_by": f"scar-cdk: {name}"} for name in added)]
    return result


def _diff_ids(config: Mapping[str, Any]) -> list[str]:
    return list(config["rootfs"]["diff_ids"])


def _tag(function: str, digest: str) -> str:
    """Function names are valid in tags but for their length (64 of 128 characters)."""
    return f"{function}-{digest.partition(':')[2][:16]}"
