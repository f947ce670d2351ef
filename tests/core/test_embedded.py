from __future__ import annotations

from stripe_cache.core.embedded import embedded_records

OWN, BROAD = "/v1/subscriptions?customer=cus_1", "/v1/subscriptions?*"


def listed(url: str, *members: object) -> dict[str, object]:
    return {"object": "list", "data": list(members), "url": url}


def test_a_filtered_list_does_not_depend_on_the_whole_collection() -> None:
    """Stripe's url of a list leaves the filter out: counted, every change of any member of it would void them all."""
    answer = listed("/v1/subscriptions", {"object": "subscription", "id": "sub_1"})
    assert embedded_records(answer, OWN, (BROAD,)) == (BROAD, "sub_1")


def test_a_list_inside_an_object_counts_by_its_url_and_its_members_by_their_ids() -> None:
    items = listed("/v1/subscription_items?subscription=sub_1", {"object": "subscription_item", "id": "si_1"})
    found = embedded_records({"object": "subscription", "id": "sub_1", "items": items}, "sub_1", ())
    assert found == ("/v1/subscription_items?*", "/v1/subscription_items?subscription=sub_1", "si_1")
