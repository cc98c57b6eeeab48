"""The settings of storage providers: what is packaged with a function, and what is kept secret.

Whatever may be a secret and stands in the FDL file, in the clear or as `${ENV:NAME}`, goes into the stack's
secret (`storage_secret`). A `${SECRET:name-or-arn}` stays where it is: the runner reads it there. Only what
is left, such as a server's address, is packaged. The form is that of `runtime/config.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fdl_schemas.model import SECRET_SETTINGS, Function, Setting, StorageProvider, Workflow
from scar_constructs.deployment import DeploymentError


def with_environment_values(workflow: Workflow, environ: Mapping[str, str]) -> Workflow:
    """The same workflow with the values of `${ENV:NAME}`.

    :raises DeploymentError: a variable that a function needs is not set, or empty.
    """
    used = {entry.provider for function in workflow.functions for entry in function.outputs}

    def value(provider: StorageProvider, key: str, setting: Setting) -> Setting:
        if setting.kept_in != "environment" or provider.reference not in used:
            return setting
        if not (found := environ.get(setting.value)):
            raise DeploymentError(
                f"storage_providers.{provider.reference}.{key}: the environment variable {setting.value} is "
                "not set where the workflow is synthesized"
            )
        return Setting(found)

    def resolved(provider: StorageProvider) -> StorageProvider:
        settings = {key: value(provider, key, setting) for key, setting in provider.settings.items()}
        return replace(provider, settings=settings)

    return replace(workflow, storage_providers=tuple(map(resolved, workflow.storage_providers)))


def providers_of(function: Function, workflow: Workflow) -> tuple[StorageProvider, ...]:
    """The storage providers that a function writes to."""
    used = {entry.provider for entry in function.outputs}
    return tuple(provider for provider in workflow.storage_providers if provider.reference in used)


def packaged(providers: Sequence[StorageProvider]) -> Mapping[str, Mapping[str, object]]:
    """What the runner is told of them: never a secret."""
    return {provider.reference: _packaged(provider) for provider in providers}


def stack_values(providers: Sequence[StorageProvider]) -> Mapping[str, Mapping[str, str]]:
    """What belongs into the stack's secret."""
    values = {
        provider.reference: {
            key: setting.value for key, setting in provider.settings.items() if _is_ours(key, setting)
        }
        for provider in providers
    }
    return {reference: settings for reference, settings in values.items() if settings}


def foreign_secrets(providers: Sequence[StorageProvider]) -> tuple[str, ...]:
    """Names and ARNs of the secrets of the user's own."""
    names = (
        setting.value
        for provider in providers
        for setting in provider.settings.values()
        if setting.kept_in == "secret"
    )
    return tuple(dict.fromkeys(names))


def _packaged(provider: StorageProvider) -> Mapping[str, object]:
    content: dict[str, object] = {"kind": provider.kind}
    if provider.kind == "minio":
        content["verify"] = provider.verify
    for key, setting in provider.settings.items():
        if _is_ours(key, setting):
            content[key] = {"stack_secret": True}
        else:
            content[key] = {"secret": setting.value} if key in SECRET_SETTINGS else setting.value
    return content


def _is_ours(key: str, setting: Setting) -> bool:
    return key in SECRET_SETTINGS and setting.kept_in != "secret"
