"""Stripe's error answers: one constructor per kind, with the body and headers that the SDK reads."""

from __future__ import annotations

from typing import Any

DOCS = "https://stripe.com/docs/error-codes"


class ApiError(Exception):
    """An answer that is no success: a status, an `error` object and perhaps headers."""

    def __init__(self, status: int, error: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(error["message"])
        self.status = status
        self.body = {"error": error}
        self.headers = headers or {}


def _invalid(status: int, message: str, code: str | None = None, param: str | None = None) -> ApiError:
    error: dict[str, Any] = {}
    if code:
        error |= {"code": code, "doc_url": f"{DOCS}/{code.replace('_', '-')}"}
    error["message"] = message
    if param:
        error["param"] = param
    return ApiError(status, {**error, "type": "invalid_request_error"})


def resource_missing(object_type: str, object_id: str, param: str = "id") -> ApiError:
    """Say that there is no such object in this account and mode."""
    noun = object_type.rpartition(".")[2].replace("_", " ") or "resource"
    return _invalid(404, f"No such {noun}: '{object_id}'", "resource_missing", param)


def unknown_url(method: str, path: str) -> ApiError:
    """Say that the API has no such operation."""
    return _invalid(404, f"Unrecognized request URL ({method}: {path}).", "url_invalid")


def parameter_missing(param: str) -> ApiError:
    """Say that a parameter is missing."""
    return _invalid(400, f"Missing required param: {param}.", "parameter_missing", param)


def parameter_invalid(param: str, message: str) -> ApiError:
    """Say that a parameter has a value that cannot work."""
    return _invalid(400, message, "parameter_invalid", param)


def not_expandable(path: str) -> ApiError:
    """Say that `expand` names a property that is not there."""
    return _invalid(400, f"This property cannot be expanded ({path}).", None, "expand")


def invalid_key(shown: str) -> ApiError:
    """Say that the Authorization header is missing or names no key."""
    if not shown:
        return _invalid(401, "You did not provide an API key. Set the Authorization header to 'Bearer sk_test_...'.")
    return _invalid(401, f"Invalid API Key provided: {shown[:8]}{'*' * max(0, len(shown) - 12)}{shown[-4:]}")


def forbidden(needed: str) -> ApiError:
    """Say that a restricted key lacks a permission."""
    message = f"The provided key does not have the required permissions for this endpoint. Having the '{needed}' permission would allow this request to continue."  # noqa: E501 -- one sentence of an answer
    return _invalid(403, message, "more_permissions_required")


def idempotency_mismatch(key: str) -> ApiError:
    """Say that the idempotency key was used with another request."""
    message = f"Keys for idempotent requests can only be used with the same parameters they were first used with. Use a key other than '{key}' to send a different request."  # noqa: E501 -- one sentence of an answer
    return ApiError(400, {"message": message, "type": "idempotency_error"})


def rate_limited(reason: str) -> ApiError:
    """Say that a limiter refused, with the value of Stripe-Rate-Limited-Reason."""
    error = {
        "code": "rate_limit",
        "doc_url": f"{DOCS}/rate-limit",
        "message": "Request rate limit exceeded. Learn more at https://stripe.com/docs/rate-limits.",
        "type": "invalid_request_error",
    }
    return ApiError(429, error, {"stripe-rate-limited-reason": reason, "stripe-should-retry": "false"})


def lock_timeout() -> ApiError:
    """Say that another request holds the object's lock: a 429 that is no limiter's, and worth a retry."""
    error = {
        "code": "lock_timeout",
        "doc_url": f"{DOCS}/lock-timeout",
        "message": "This object cannot be accessed right now because another request is using it.",
        "type": "invalid_request_error",
    }
    return ApiError(429, error, {"stripe-should-retry": "true"})


def server_error(status: int) -> ApiError:
    """Say that Stripe itself is broken."""
    error = {"message": "An unknown error occurred", "type": "api_error"}
    return ApiError(status, error, {"stripe-should-retry": "true" if status != 501 else "false"})  # noqa: PLR2004 -- 501 is for good
