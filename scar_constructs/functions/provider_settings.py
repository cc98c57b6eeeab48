"""The settings of storage providers: those that are packaged with a function, and the secret ones.

Every possible secret in the FDL file, in plain text or as `${ENV:NAME}`, is stored in the stack's secret
(`storage_secret`). A `${SECRET:name-or-arn}` is not copied: the runner reads it. Only the other settings,
such as a server's address, are packaged. The format is that of `runtime/config.py`.
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
    """The settings that are packaged for the runner: never a secret."""
    return {provider.reference: _packaged(provider) for provider in providers}


def stack_values(providers: Sequence[StorageProvider]) -> Mapping[str, Mapping[str, str]]:
    """The settings for the stack's secret."""
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
