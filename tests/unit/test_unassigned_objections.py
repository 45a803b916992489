"""Sellers to whom somebody objects and whom the configuration does not know: looked for when that may have changed."""

from __future__ import annotations

from collections.abc import Collection

from agent.domain.phone_number import PhoneNumber
from agent.unassigned_objections import UnassignedObjections


class Records:
    """Objections by seller: those in force, by their record."""

    def __init__(self, **in_force: list[int]) -> None:
        self.in_force = in_force
        self.asked: list[tuple[str, int]] = []

    def sellers(self) -> list[str]:
        """Also those with nothing in force any more."""
        return sorted(self.in_force)

    def any_in_force(self, seller: str, after: int) -> bool:
        """As told."""
        self.asked.append((seller, after))
        return any(seq > after for seq in self.in_force[seller])

    def objects(self, number: PhoneNumber, sellers: Collection[str]) -> bool:
        """Not asked here."""
        raise AssertionError


def test_known_sellers_are_never_asked_about() -> None:
    """However many object to them."""
    records = Records(acme=[1, 2], hart=[3])
    assert UnassignedObjections(records, {"acme", "hart", "bank"}).sellers(3) == ()
    assert records.asked == []


def test_every_unknown_seller_with_an_objection_in_force_is_found() -> None:
    """And not the one whose objections were all taken back."""
    records = Records(acme=[1], hart=[], zon=[3])
    assert UnassignedObjections(records, {"bank"}).sellers(3) == ("acme", "zon")


def test_the_journal_is_asked_again_only_after_a_record_that_may_matter() -> None:
    """Screening asks for each call; then only what came since is looked at."""
    records = Records(acme=[])
    unassigned = UnassignedObjections(records, ())
    assert [unassigned.sellers(7) for _ in range(3)] == [(), (), ()]
    assert records.asked == [("acme", -1)]
    records.in_force["acme"].append(9)
    assert unassigned.sellers(9) == ("acme",)
    assert records.asked == [("acme", -1), ("acme", 7)]


def test_what_was_found_is_looked_for_each_time_so_that_it_ends_when_it_is_taken_back() -> None:
    """A removal is no record that may turn an allow into a block, so no watermark tells of it."""
    records = Records(acme=[5])
    unassigned = UnassignedObjections(records, ())
    assert unassigned.sellers(5) == unassigned.sellers(5) == ("acme",)
    records.in_force["acme"].clear()
    assert unassigned.sellers(5) == ()
