"""Metric math: the examples of AWS's guide, and what does not exist here."""

from __future__ import annotations

import pytest

from local_cloud.metrics.expressions import Evaluation, ExpressionError, Series

M0, M1 = {0: 4.0, 60: 6.0, 120: 0.0}, {0: 2.0, 60: 3.0}
EVALUATION = Evaluation({"m0": M0, "m1": M1, "none": {}}, (0, 60, 120, 180))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("m0", M0),
        ("m0 / 2", {0: 2, 60: 3, 120: 0}),
        ("100 * m1 / m0", {0: 50, 60: 50}),
        ("m0 + m1", {0: 6, 60: 9}),
        ("m0 - m1 * 2", {0: 0, 60: 0}),
        ("m1 / m0 + m0", {0: 4.5, 60: 6.5}),
        ("1 / m0", {0: 0.25, 60: 1 / 6}),
        ("m0 >= 6", {0: 0, 60: 1, 120: 0}),
        ("IF(m0 > 4, m1, 0)", {0: 0, 60: 3, 120: 0}),
        ("IF(m0 >= 0, m1, 0)", {0: 2, 60: 3}),
        ("IF(2 > 1, m1, m0)", M1),
        ("FILL(m1, 0)", {0: 2, 60: 3, 120: 0, 180: 0}),
        ("FILL(none, 7)", {0: 7, 60: 7, 120: 7, 180: 7}),
        ("MAX([m0, m1 * 3])", {0: 6, 60: 9, 120: 0}),
        ("MIN([m0, m1])", {0: 2, 60: 3, 120: 0}),
        ("SUM([m0, m1, none])", {0: 6, 60: 9, 120: 0}),
        ("AVG([m0, m1])", {0: 3, 60: 4.5, 120: 0}),
        ("m0 / MAX(m0)", {0: 4 / 6, 60: 1, 120: 0}),
        ("ABS(m1 - m0)", {0: 2, 60: 3}),
        ("MAX([none])", {}),
    ],
)
def test_values_of_expressions(expression: str, expected: Series) -> None:
    assert EVALUATION.value_of(expression) == pytest.approx(expected)


@pytest.mark.parametrize(
    "expression",
    [
        *("", "m0 +", "m2", "1 + 1", "SEARCH('x')", "m0 ** 2", "[m0]", "m0.values", "True"),
        *("__import__('os').system('x')", "m0 if m0 else m1", "FILL(m0)", "SUM(m0, m1)", "[m0] + 1"),
        *("0 < m0 < 1", "FILL(m0, m1)", "'m0'", "(" * 5000),
    ],
)
def test_what_is_not_supported_is_an_error(expression: str) -> None:
    with pytest.raises(ExpressionError):
        EVALUATION.value_of(expression)
