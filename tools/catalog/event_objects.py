"""What the SDK's Python source cannot tell about snapshot events: which objects they carry. Reviewed by hand."""

from __future__ import annotations

# Event type, or its beginning with a final `*` -> (object types in data.object, why the SDK's source does not say).
EVENT_OBJECTS: dict[str, tuple[tuple[str, ...], str]] = {
    "account.application.*": (("application",), "the prefix names the account; what is sent is the application"),
    "account.external_account.*": (("bank_account", "card"), "an external account is one of two object types"),
    "billing.alert.triggered": (("billing.alert_triggered",), "the thin twin names the alert; the snapshot wraps it"),
    "customer.source.*": (("bank_account", "card", "source"), "a payment source is one of three object types"),
    "source.mandate_notification": (("source_mandate_notification",), "named by an underscore in `object`"),
    "source.transaction.*": (("source_transaction",), "named by an underscore in `object`"),
}
