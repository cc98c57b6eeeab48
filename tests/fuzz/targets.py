"""All targets by name."""

from __future__ import annotations

from tests.fuzz import cached, events, fdl, layers, output, registry, servers, words

TARGETS = {
    target.name: target
    for target in (
        layers.LAYERS_TARGET,
        layers.ARCHIVES_TARGET,
        registry.TARGET,
        cached.STORE_TARGET,
        servers.TARGET,
        events.TARGET,
        fdl.TARGET,
        output.TARGET,
        words.TARGET,
    )
}
