"""Queues as targets of EventBridge rules: as on AWS, the policy of the queue must allow
`events.amazonaws.com` to send to it for this rule.

ministack sends without a check. It also keeps each event that it has ever received in memory, for nothing.
"""

from __future__ import annotations

import contextvars
import logging
from collections import deque
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import eventbridge, sqs

from local_cloud.messages import chains
from local_cloud.patches import Original, replaces

_rule_arn: contextvars.ContextVar[str] = contextvars.ContextVar("rule_arn", default="")
_log = logging.getLogger("event-rules")


def install() -> None:
    """Check deliveries, keep no events, and end chains of invocations, as on AWS."""
    nothing_kept: deque[Any] = deque(maxlen=0)
    eventbridge._events_log_list = lambda: nothing_kept

    @replaces(eventbridge, "_invoke_target")
    def invoke_target(invoke: Original, target: Any, event: Any, rule: dict[str, Any], *more: Any) -> None:
        token, chain = _rule_arn.set(str(rule.get("Arn", ""))), chains.current.set({})
        try:
            invoke(target, event, rule, *more)
        finally:
            _rule_arn.reset(token)
            chains.current.reset(chain)

    @replaces(eventbridge, "_dispatch_to_sqs")
    def send_if_allowed(send: Original, queue: Any, *message: Any) -> None:
        rule = _rule_arn.get()
        if sqs.queue_policy_allows(str(queue), "events.amazonaws.com", rule, get_account_id()):
            send(queue, *message)
        else:
            _log.warning("the policy of the queue %s denies the event of the rule %s", queue, rule)
