"""Recursive loops: chains in trace headers, and what Lambda stops."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ministack.services import lambda_svc

from local_cloud.lambda_functions.events import EventQueue
from local_cloud.lambda_functions.loops import is_loop, longer
from local_cloud.messages import chains
from local_cloud.messages.chains import chain_in, trace_header
from local_cloud.state.store import Store

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"


def function(name: str, **more: Any) -> dict[str, Any]:
    return {"config": {"FunctionName": name, "FunctionArn": ARN + name}, **more}


def chain_of(*names: str) -> dict[str, int]:
    chain: dict[str, int] = {}
    for name in names:
        chain = longer(chain, ARN + name)
    return chain


def test_a_chain_survives_its_way_through_a_trace_header() -> None:
    chain = chain_of("a", "b", "a:3", "a")
    assert sorted(chain.values()) == [1, 3]
    assert chain_in(trace_header(chain)) == chain
    assert chain_in(trace_header(chain).replace("|", "%7C")) == chain
    assert chain_in(trace_header({})) == chain_in("") == chain_in("Root=1-2-3;Lineage=x") == {}


def test_each_function_may_be_invoked_sixteen_times_in_a_chain() -> None:
    assert not is_loop(chain_of(*["a"] * 15, *["b"] * 20), function("a"))
    assert is_loop(chain_of(*["a"] * 16), function("a"))
    assert not is_loop(chain_of(*["a"] * 16), function("b"))
    assert not is_loop(chain_of(*["a"] * 16), function("a", recursive_loop="Allow"))


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventQueue]:
    monkeypatch.setattr(lambda_svc, "_ensure_poller", lambda: None)
    queue = EventQueue(parallel=1, store=Store(tmp_path / "state.db"))
    yield queue
    queue.pause()
    queue.forget_all()
    queue.wait_until_idle(20)
    lambda_svc._functions.clear()


@pytest.mark.parametrize(("setting", "invoked"), [("Terminate", ["keeper"]), ("Allow", ["f"])])
def test_an_event_of_a_loop_goes_to_the_failure_destination_without_an_attempt(
    queue: EventQueue, monkeypatch: pytest.MonkeyPatch, setting: str, invoked: list[str]
) -> None:
    calls: list[tuple[str, Any]] = []
    seen: list[Any] = []

    def execute(record: dict[str, Any], event: Any) -> dict[str, Any]:
        calls.append((record["config"]["FunctionName"], event))
        seen.append(dict(chains.current.get()))
        return {"body": "done"}

    monkeypatch.setattr(lambda_svc, "_execute_function", execute)
    destination = {"DestinationConfig": {"OnFailure": {"Destination": f"{ARN}keeper"}}}
    record = function("f", event_invoke_config=destination, recursive_loop=setting)
    lambda_svc._functions["f"], lambda_svc._functions["keeper"] = record, function("keeper")
    token = chains.current.set(chain_of(*["f"] * 16))
    queue.put(record, "event")
    chains.current.reset(token)
    queue.resume()
    until = time.monotonic() + 10
    while queue._store.items("event"):
        assert time.monotonic() < until
        time.sleep(0.005)
    assert [name for name, _event in calls] == invoked
    if setting == "Terminate":
        assert calls[0][1]["requestPayload"] == "event"
        assert calls[0][1]["responsePayload"]["errorType"] == "RecursiveInvocationException"
    else:
        assert seen == [chain_of(*["f"] * 16)], "the invocation continues the chain of its event"


def test_the_chain_of_an_event_is_on_disk(queue: EventQueue) -> None:
    token = chains.current.set(chain_of("a"))
    queue.put(function("f"), "event")
    chains.current.reset(token)
    ((_key, stored),) = queue._store.items("event")
    assert json.loads(stored)["chain"] == chain_of("a")
