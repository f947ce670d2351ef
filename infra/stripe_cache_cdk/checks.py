"""Checks of single values, each with an error that names the field, the value and the remedy."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import aws_cdk as cdk

from stripe_cache_cdk.errors import StageError

if TYPE_CHECKING:
    from enum import StrEnum

# A quarter of the VPC is one private subnet; below a /24 of those, Lambda's network interfaces run out first.
SMALLEST_PREFIX = 22
LARGEST_PREFIX = 16
# RFC 1918, and the shared addresses of RFC 6598. In any other range, part of the internet would be out of reach.
PRIVATE_RANGES = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))

Choice = TypeVar("Choice", bound="StrEnum")


def check_cidr(cidr: str) -> ipaddress.IPv4Network:
    """Return the network; raise StageError when it is malformed, public, or too small for three availability zones."""
    check_text("cidr", cidr)
    try:
        network = ipaddress.IPv4Network(cidr)
    except ValueError as error:
        raise StageError(f"cidr={cidr!r}: {error}: write it as 10.20.0.0/20") from error
    if not LARGEST_PREFIX <= network.prefixlen <= SMALLEST_PREFIX:
        raise StageError(
            f"cidr={cidr!r}: a VPC here needs between /{LARGEST_PREFIX} and /{SMALLEST_PREFIX}: "
            f"smaller ones leave Lambda too few addresses"
        )
    if not any(network.subnet_of(private) for private in PRIVATE_RANGES):
        raise StageError(f"cidr={cidr!r} is public: use part of {', '.join(map(str, PRIVATE_RANGES))}")
    return network


def check_text(field: str, value: object) -> None:
    """Raise StageError for anything but text."""
    if not isinstance(value, str):
        raise StageError(f"{field}={value!r} is a {type(value).__name__}: give text")


def check_match(field: str, value: str, pattern: str, remedy: str) -> None:
    """Raise StageError unless the whole value matches; `remedy` completes the sentence `give ...`."""
    check_text(field, value)
    if not re.fullmatch(pattern, value):
        raise StageError(f"{_said(field, value)}: give {remedy}")


def check_range(field: str, value: float, low: float, high: float, unit: str, *, whole: bool = True) -> None:
    """Raise StageError unless low <= value <= high, in whole numbers unless said otherwise."""
    # True is an int to Python, and no number of anything to anybody. What is no number compares to nothing.
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        raise StageError(f"{_said(field, value)}: give {low} to {high} {unit}")


def check_mapping(field: str, value: object, kind: str) -> None:
    """Raise StageError for anything but a mapping whose keys are text."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise StageError(f"{field}={value!r}: give a mapping of {kind}")


def check_json(field: str, value: Mapping[str, object], kind: str) -> str:
    """Return JSON, empty for nothing, or raise StageError for what cannot be written as such."""
    try:
        return json.dumps(dict(value), separators=(",", ":"), sort_keys=True) if value else ""
    except (TypeError, ValueError) as error:
        raise StageError(f"{field} is no JSON ({error}): give a mapping of {kind}") from error


def check_enum(field: str, value: str, choices: type[Choice]) -> Choice:
    """Return the member of that value, or raise StageError listing them all."""
    try:
        return choices(value)
    except ValueError as error:
        raise StageError(f"{field}={value!r} is unknown: choose one of {', '.join(choices)}") from error


def _said(field: str, value: object) -> str:
    # To Python, what is known at deployment only is a placeholder or a huge negative number.
    # CDK's process cannot read anything else, and ends for good at a NaN.
    asked = isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    late = asked and cdk.Token.is_unresolved(value)
    return f"{field} is known at deployment only" if late else f"{field}={value!r}"
