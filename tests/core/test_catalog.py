from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from stripe_cache.core import catalog

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ROOT / "runtime" / "stripe_cache" / "core" / "data"
GENERATOR = ROOT / "tools" / "generate_catalog.py"
GETS = [operation for operation in catalog.operations() if operation.method == "get"]


def filled(template: str) -> str:
    return "/".join(f"id_{i}A1" if s.startswith("{") else s for i, s in enumerate(template.split("/")))


CHANGED = (DATA / "catalog.json").read_text().replace("/v1/customers", "/v1/clients")


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """Run the check on what is committed and on a file that differs: status, what it said, and the file afterwards.

    Both in one process of its own, because reading the SDK's sources takes seconds.
    """
    folder = tmp_path_factory.mktemp("changed")
    changed = folder / "catalog.json"
    changed.write_text(CHANGED)
    script = f"""
import contextlib, io, json, pathlib, sys
sys.path.insert(0, {str(GENERATOR.parent)!r})
import generate_catalog
from catalog import render
def check():
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = generate_catalog.main(["--check"])
    return status, said.getvalue(), pathlib.Path({str(changed)!r}).read_text()
checks = {{"committed": check()}}
generate_catalog.ROOT = pathlib.Path({str(folder)!r})
generate_catalog.FILES = {{pathlib.Path({str(changed)!r}): render.catalog}}
checks["changed"] = check()
print(json.dumps(checks))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: tuple(found) for name, found in json.loads(done.stdout).items()}


def test_the_committed_files_are_what_the_generator_makes_of_the_installed_sdk(
    checks: dict[str, tuple[int, str, str]],
) -> None:
    status, said, _ = checks["committed"]
    assert status == 0, said


def test_the_check_fails_and_names_the_file_when_a_committed_file_differs(
    checks: dict[str, tuple[int, str, str]],
) -> None:
    status, said, after = checks["changed"]
    assert status == 1
    assert "catalog.json differs" in said
    assert "/v1/clients" in said
    assert after == CHANGED, "--check must change nothing"


def test_the_catalog_is_of_the_api_version_that_the_sdk_sends() -> None:
    assert catalog.api_version() == stripe._api_version._ApiVersion.CURRENT


def test_files_hold_one_row_per_line_in_order() -> None:
    lines = (DATA / "catalog.json").read_text().splitlines()
    rows = [json.loads(line.rstrip(",")) for line in lines if line.startswith("[")]
    assert len(rows) == len(catalog.operations()) > 600
    assert [(row[1], row[0]) for row in rows] == sorted((row[1], row[0]) for row in rows)


@pytest.mark.parametrize("operation", GETS, ids=lambda o: o.path)
def test_every_readable_template_filled_with_ids_matches_itself(operation: catalog.Operation) -> None:
    assert catalog.match("get", filled(operation.path)) is operation


def test_every_write_filled_with_ids_matches_itself() -> None:
    for operation in catalog.operations():
        assert catalog.match(operation.method, filled(operation.path)) is operation


@pytest.mark.parametrize(
    ("method", "path", "template", "kind", "objects"),
    [
        ("GET", "/v1/customers/cus_1", "/v1/customers/{customer}", "retrieve", ("customer",)),
        ("get", "/v1/customers/search", "/v1/customers/search", "search", ("customer",)),
        ("get", "/v1/customers", "/v1/customers", "list", ("customer",)),
        ("get", "/v1/balance", "/v1/balance", "singleton", ("balance",)),
        ("get", "/v1/quotes/qt_1/pdf", "/v1/quotes/{quote}/pdf", "stream", ()),
        ("get", "/v1/credit_notes/preview", "/v1/credit_notes/preview", "action", ("credit_note",)),
        ("post", "/v1/customers", "/v1/customers", "create", ("customer",)),
        ("post", "/v1/customers/cus_1/tax_ids", "/v1/customers/{customer}/tax_ids", "create", ("tax_id",)),
        ("post", "/v1/tax/settings", "/v1/tax/settings", "update", ("tax.settings",)),
        ("post", "/v1/invoices/in_1/pay", "/v1/invoices/{invoice}/pay", "action", ("invoice",)),
        ("delete", "/v1/coupons/A%2BB", "/v1/coupons/{coupon}", "delete", ("coupon",)),
        ("get", "/v1/radar/value_lists", "/v1/radar/value_lists", "list", ("radar.value_list",)),
        ("get", "/v2/core/accounts/acct_1", "/v2/core/accounts/{id}", "retrieve", ("v2.core.account",)),
    ],
)
def test_a_request_finds_its_operation(
    method: str, path: str, template: str, kind: str, objects: tuple[str, ...]
) -> None:
    operation = catalog.match(method, path)
    assert operation is not None
    assert (operation.path, operation.kind, operation.objects) == (template, kind, objects)
    assert operation.streaming is (kind == "stream")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "v1/customers",
        "/v1/customers/",
        "/v1//customers",
        "/v1/customers/..",
        "/v1/customers/../balance",
        "/v1/./customers",
        "/v1/customers/%2e%2e",
        "/v1/customers/cus_1%2Ftax_ids",
        "/v1/customers/cus_1%5Ctax_ids",
        "/v1/customers/cus%00",
        "/v1/customers/50%",
        "/v1/customers/50%zz",
        "/v1/customers/cus 1",
        "/v1/customers/cus_1?expand[]=x",
        "/v1/customers/cus_1#x",
        "/v1/customers/cus_\n",
        "/v1/customers/cus_ü",
        "/v1/customers/{customer}",
        "/v1/nothing",
        "/v3/customers",
        "/v1/customers/" + "a" * 3000,
    ],
)
def test_a_path_that_could_be_read_in_another_way_is_nobodys(path: str) -> None:
    assert catalog.match("get", path) is None


@pytest.mark.parametrize("method", ["put", "head", "", "get post"])
def test_an_unknown_method_matches_nothing(method: str) -> None:
    assert catalog.match(method, "/v1/customers") is None


@given(st.text(), st.text())
def test_match_never_raises(method: str, path: str) -> None:
    assert catalog.match(method, path) is None
    for known in ("get", "post", "delete"):
        found = catalog.match(known, "/v1/" + path)
        assert found is None or found.method == known


@given(st.text(alphabet="/abc{}%.2fFeE_v1", max_size=30))
def test_match_never_raises_for_nearly_valid_paths(tail: str) -> None:
    found = catalog.match("get", "/v1/customers/" + tail)
    assert found is None or ("//" not in tail and not tail.endswith("/") and "{" not in tail)


def test_partitions_are_filters_that_members_answer_themselves_customer_first() -> None:
    by_path = {operation.path: operation.partitions for operation in GETS}
    assert by_path["/v1/subscriptions"] == ("customer",)
    assert by_path["/v1/prices"] == ("product",)
    assert by_path["/v1/charges"] == ("customer", "payment_intent")
    assert by_path["/v1/balance_transactions"] == ("source",)
    assert by_path["/v1/customers"] == ()
    assert by_path["/v1/customers/{customer}/tax_ids"] == ()
    types = catalog.object_types()
    for operation in GETS:
        for name in operation.partitions:
            assert name in types[operation.objects[0]].references or name in types, (operation.path, name)


def test_nested_lists_know_the_members_field_that_names_the_parent() -> None:
    fields = {operation.path: operation.fields for operation in GETS}
    assert fields["/v1/customers/{customer}/tax_ids"] == ("customer",)
    assert fields["/v1/application_fees/{id}/refunds"] == ("fee",), "`id` is the fee's, not the refund's"
    assert fields["/v1/transfers/{id}/reversals"] == ("transfer",)
    assert fields["/v1/quotes/{quote}/line_items"] == ("",)


def test_object_types_tell_what_is_secret_and_what_is_a_reference() -> None:
    types = catalog.object_types()
    assert "client_secret" in types["payment_intent"].secrets
    assert "number" in types["issuing.card"].secrets
    assert "number" not in types["invoice"].secrets
    assert "email" in types["customer"].personal
    assert types["subscription"].references["customer"] == ("customer",)
    assert "/v1/customers/{customer}" in types["customer"].templates


def test_event_types_of_both_flavours_name_their_objects_and_twins() -> None:
    events = catalog.event_types()
    assert events["charge.dispute.created"].objects == ("dispute",)
    assert events["customer.source.updated"].objects == ("bank_account", "card", "source")
    assert events["customer.updated"].twin == "v1.customer.updated"
    assert events["v1.customer.updated"].objects == ("customer",)
    assert events["v1.customer.updated"].twin == "customer.updated"
    for event in events.values():
        assert event.objects or event.flavour == "thin", event
        assert not event.twin or events[event.twin].twin == event.name


def test_every_type_that_an_operation_or_event_names_is_described() -> None:
    types = catalog.object_types()
    used = {n for o in catalog.operations() for n in (*o.objects, *o.parents)}
    used |= {n for e in catalog.event_types().values() for n in e.objects}
    assert used <= set(types)


def test_every_thread_that_comes_first_gets_an_equal_catalog() -> None:
    catalog._operations.cache_clear()
    found: list[object] = []
    barrier = threading.Barrier(4)

    def ask() -> None:
        barrier.wait()
        found.append(catalog.match("get", "/v1/customers/cus_1"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(operation == found[0] and operation is not None for operation in found)


def test_a_request_needs_only_the_operations_file() -> None:
    script = (
        "from stripe_cache.core import catalog; catalog.match('get', '/v1/customers'); import sys; "
        "assert catalog._types.cache_info().currsize == 0; "
        "assert 'stripe' not in sys.modules and 'importlib.resources' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
