"""What every shared tier promises about claims: one suite, run on each of them like the tier contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes import eventually

from stripe_cache.core.ports import LONGEST_CLAIM, NO_HOLD, Claim

if TYPE_CHECKING:
    from tier_contract import Bench

LONG, SHORT = 60.0, 0.05


class ClaimContract:
    """Claims of one slot by several processes."""

    def claim(self, bench: Bench, by: str, generation: str = "t1", seconds: float = LONG, variant: str = "v1") -> Claim:
        bench.clock.advance(0.001)
        return bench.tier.claim(bench.key(variant=variant), generation, by, seconds)

    def test_one_gets_the_claim_and_the_others_wait(self, bench: Bench) -> None:
        bench.touch("cus_1")
        assert self.claim(bench, "first") is Claim.MINE
        assert self.claim(bench, "second") is Claim.TAKEN
        assert self.claim(bench, "first") is Claim.MINE, "its own: whoever held it in this process has given up"
        assert self.claim(bench, "second") is Claim.TAKEN

    def test_asking_claims_nothing(self, bench: Bench) -> None:
        assert self.claim(bench, "first", seconds=0) is Claim.GONE
        bench.touch("cus_1")
        assert self.claim(bench, "first", seconds=0) is Claim.MINE
        assert self.claim(bench, "second", seconds=0) is Claim.MINE
        assert self.claim(bench, "second") is Claim.MINE
        assert self.claim(bench, "first", seconds=0) is Claim.TAKEN
        assert self.claim(bench, "second", seconds=0) is Claim.MINE
        bench.tier.release(bench.key(), "t1", "second", LONG)
        assert self.claim(bench, "first", seconds=0) is Claim.ALONE
        bench.tier.void(bench.namespace, ["cus_1"], "t2", NO_HOLD)
        assert self.claim(bench, "first", seconds=0) is Claim.GONE

    def test_whoever_claims_for_less_does_not_take_a_longer_claim_away(self, bench: Bench) -> None:
        """A process whose invocation ends soon meets the claim of one that has all the time."""
        bench.touch("cus_1")
        assert self.claim(bench, "patient") is Claim.MINE
        assert self.claim(bench, "hurried", seconds=SHORT) is Claim.TAKEN
        assert self.claim(bench, "hurried", seconds=0) is Claim.TAKEN

    def test_a_claim_longer_than_the_longest_is_none_of_ours(self, bench: Bench) -> None:
        bench.touch("cus_1")
        assert self.claim(bench, "stranger", seconds=LONGEST_CLAIM + 1000) is Claim.MINE
        assert self.claim(bench, "first", seconds=0) is Claim.MINE
        assert self.claim(bench, "first") is Claim.MINE

    def test_a_stored_value_leaves_nothing_to_wait_for(self, bench: Bench) -> None:
        bench.touch("cus_1")
        assert self.claim(bench, "first") is Claim.MINE
        bench.fill()
        assert self.claim(bench, "second", seconds=0) is Claim.MINE

    def test_each_variant_is_claimed_for_itself(self, bench: Bench) -> None:
        bench.touch("cus_1")
        assert self.claim(bench, "first") is Claim.MINE
        assert self.claim(bench, "second", variant="v2") is Claim.MINE

    def test_nobody_claims_under_a_generation_that_has_gone(self, bench: Bench) -> None:
        assert self.claim(bench, "first") is Claim.GONE
        bench.touch("cus_1")
        bench.tier.void(bench.namespace, ["cus_1"], "t2", NO_HOLD)
        assert self.claim(bench, "first") is Claim.GONE
        assert bench.read().generation == "t2"

    def test_an_invalidation_takes_the_claim_with_it(self, bench: Bench) -> None:
        bench.touch("cus_1")
        assert self.claim(bench, "before") is Claim.MINE
        bench.tier.void(bench.namespace, ["cus_1"], "t2", NO_HOLD)
        assert self.claim(bench, "after", generation="t2") is Claim.MINE

    def test_a_claim_ends_by_itself_because_its_holder_may_be_dead(self, bench: Bench) -> None:
        bench.touch("cus_1")
        assert self.claim(bench, "dead", seconds=SHORT) is Claim.MINE
        bench.clock.advance(1)
        assert eventually(lambda: self.claim(bench, "next") is Claim.MINE)

    def test_a_released_claim_tells_the_others_not_to_wait_and_then_is_free(self, bench: Bench) -> None:
        bench.touch("cus_1")
        assert self.claim(bench, "first") is Claim.MINE
        bench.tier.release(bench.key(), "t1", "stranger", LONG)
        assert self.claim(bench, "second") is Claim.TAKEN
        bench.tier.release(bench.key(), "t1", "first", SHORT)
        assert self.claim(bench, "second") in {Claim.ALONE, Claim.MINE}
        bench.clock.advance(1)
        assert eventually(lambda: self.claim(bench, "second") is not Claim.ALONE)

    def test_a_claim_given_up_without_a_notice_is_free_at_once(self, bench: Bench) -> None:
        bench.touch("cus_1")
        assert self.claim(bench, "first") is Claim.MINE
        bench.tier.release(bench.key(), "t1", "first", 0)
        assert self.claim(bench, "second") is Claim.MINE
        bench.tier.release(bench.key(), "t1", "first", 0)
        assert self.claim(bench, "first") is Claim.TAKEN

    def test_a_notice_lasts_as_long_as_asked(self, bench: Bench) -> None:
        bench.touch("cus_1")
        assert self.claim(bench, "first") is Claim.MINE
        bench.tier.release(bench.key(), "t1", "first", LONG)
        assert self.claim(bench, "second") is Claim.ALONE
        assert self.claim(bench, "first") is Claim.ALONE

    def test_a_claim_does_not_stand_in_the_way_of_a_value(self, bench: Bench) -> None:
        bench.touch("cus_1")
        assert self.claim(bench, "first") is Claim.MINE
        bench.fill()
        assert bench.read().stored is not None
