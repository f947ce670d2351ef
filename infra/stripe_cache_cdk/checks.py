"""Checks of single values, each with an error that names the field, the value and the remedy."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, TypeVar

from stripe_cache_cdk.errors import StageError

if TYPE_CHECKING:
    from enum import StrEnum

# A quarter of the VPC is one private subnet; below a /24 of those, Lambda's network interfaces run out first.
SMALLEST_PREFIX = 22
LARGEST_PREFIX = 16

Choice = TypeVar("Choice", bound="StrEnum")


def check_cidr(cidr: str) -> ipaddress.IPv4Network:
    """Return the network, or raise StageError when it is malformed or too small for three availability zones."""
    try:
        network = ipaddress.IPv4Network(cidr)
    except ValueError as error:
        raise StageError(f"cidr={cidr!r}: {error}: write it as 10.20.0.0/20") from error
    if not LARGEST_PREFIX <= network.prefixlen <= SMALLEST_PREFIX:
        raise StageError(
            f"cidr={cidr!r}: a VPC here needs between /{LARGEST_PREFIX} and /{SMALLEST_PREFIX}: "
            f"smaller ones leave Lambda too few addresses"
        )
    return network


def check_match(field: str, value: str, pattern: str, remedy: str) -> None:
    """Raise StageError unless the whole value matches; `remedy` completes the sentence `give ...`."""
    if not re.fullmatch(pattern, value):
        raise StageError(f"{field}={value!r}: give {remedy}")


def check_range(field: str, value: int, low: int, high: int, unit: str) -> None:
    """Raise StageError unless low <= value <= high."""
    if not low <= value <= high:
        raise StageError(f"{field}={value}: give {low} to {high} {unit}")


def check_enum(field: str, value: str, choices: type[Choice]) -> Choice:
    """Return the member of that value, or raise StageError listing them all."""
    try:
        return choices(value)
    except ValueError as error:
        raise StageError(f"{field}={value!r} is unknown: choose one of {', '.join(choices)}") from error
