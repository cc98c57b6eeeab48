"""Metric math: the value of an expression of metrics, at each time.

A part of https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html: numbers,
metrics by their ids, lists, `+ - * /`, comparisons, and the functions AVG, MAX, MIN, SUM, ABS, FILL and IF.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Series = Mapping[int, float]
"""Values by the time (seconds since 1970) at which their period starts."""
Value = float | Series | list["Value"]

_OPERATORS: Final[Mapping[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: Final[Mapping[type[ast.cmpop], Callable[[float, float], bool]]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_OF_LISTS: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "AVG": lambda values: sum(values) / len(values),
    "MAX": max,
    "MIN": min,
    "SUM": sum,
}


class ExpressionError(ValueError):
    """The expression is invalid, or it is not supported here."""


@dataclass(frozen=True)
class Evaluation:
    """Evaluates expressions.

    :param series: the metrics, and the results of other expressions, by their ids.
    :param times: at which the periods of the query start, for FILL.
    """

    series: Mapping[str, Series]
    times: Sequence[int]

    def value_of(self, expression: str) -> Series:
        """The values of an expression.

        :raises ExpressionError: it is invalid or not supported, or its value is not a time series.
        """
        try:
            value = self._value(ast.parse(expression, mode="eval").body)
        except (SyntaxError, RecursionError) as error:
            raise ExpressionError(f"invalid expression: {expression}") from error
        if not isinstance(value, Mapping):
            raise ExpressionError(f"the value is not a time series: {expression}")
        return value

    def _value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return float(number)
            case ast.Name(id=name) if name in self.series:
                return self.series[name]
            case ast.List(elts=elements):
                return [self._value(element) for element in elements]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _combined(_OPERATORS[type(op)], self._value(left), self._value(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
                return _combined(_COMPARISONS[type(op)], self._value(left), self._value(right))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, [self._value(argument) for argument in arguments])
        raise ExpressionError(f"not supported: {ast.unparse(node)}")

    def _call(self, name: str, arguments: Sequence[Value]) -> Value:
        match name, arguments:
            case ("AVG" | "MAX" | "MIN" | "SUM", [list(members)]):
                return _over(_OF_LISTS[name], members)
            case ("AVG" | "MAX" | "MIN" | "SUM", [Mapping() as series]):
                return _OF_LISTS[name](list(series.values())) if series else {}
            case "ABS", [value]:
                return _combined(lambda one, _: abs(one), value, 0.0)
            case "FILL", [Mapping() as series, float(number)]:
                return {time: series.get(time, number) for time in self.times}
            case "IF", [condition, then, otherwise]:
                return _chosen(condition, then, otherwise)
        raise ExpressionError(f"not supported: {name} with {len(arguments)} arguments")


def _combined(operation: Callable[[float, float], float], left: Value, right: Value) -> Value:
    """An operation at the times of both operands. There is no value where one is missing, or for x / 0."""
    if isinstance(left, list) or isinstance(right, list):
        raise ExpressionError("a list is not supported here")
    if isinstance(left, float) and isinstance(right, float):
        return float(operation(left, right))
    result = {}
    for time in _times(left, right):
        try:
            result[time] = float(operation(_at(left, time), _at(right, time)))
        except (KeyError, ZeroDivisionError):
            continue
    return result


def _chosen(condition: Value, then: Value, otherwise: Value) -> Value:
    if isinstance(condition, float):
        return then if condition else otherwise
    if isinstance(condition, list):
        raise ExpressionError("a list is not supported here")
    result = {}
    for time, holds in condition.items():
        try:
            result[time] = _at(then if holds else otherwise, time)
        except KeyError:
            continue
    return result


def _over(operation: Callable[[Sequence[float]], float], members: Sequence[Value]) -> Series:
    """An operation on the members of a list at each time, without those that have no value then."""
    result = {}
    for time in _times(*members):
        present = [member for member in members if isinstance(member, float) or _has(member, time)]
        result[time] = operation([_at(member, time) for member in present])
    return result


def _times(*values: Value) -> Sequence[int]:
    return sorted({time for value in values if isinstance(value, Mapping) for time in value})


def _has(value: Value, time: int) -> bool:
    return isinstance(value, Mapping) and time in value


def _at(value: Value, time: int) -> float:
    """
    :raises KeyError: there is no value at this time.
    """
    if isinstance(value, float):
        return value
    if isinstance(value, list):
        raise ExpressionError("a list is not supported here")
    return value[time]
