"""The tree of hashes: the root is that of RFC 9162, and a path leads to it from its own leaf alone."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.domain.merkle import leaf, prove, root_by_path

SIZES = (1, 2, 3, 5, 8, 1023, 1024, 1025, 2048, 3071, 5000)


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, to the letter; the leaves are hashed already."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\1" + by_definition(leaves[:split]) + by_definition(leaves[split:])).digest()


def some_leaves(count: int) -> list[bytes]:
    """Leaves that differ."""
    return [sha256(b"%d" % number).digest() for number in range(count)]


@pytest.mark.parametrize("size", SIZES)
def test_the_root_is_that_of_the_definition_and_every_path_leads_there(size: int) -> None:
    """Around the sizes at which blocks and levels begin."""
    leaves = some_leaves(size)
    wanted = {0, size - 1, size // 2, size // 3, max(0, size - 2)}
    proofs = prove(iter(leaves), wanted)
    assert (proofs.size, proofs.root) == (size, by_definition(leaves))
    assert proofs.root == prove(leaves).root
    for index in wanted:
        assert root_by_path(index, size, leaves[index], proofs.paths[index]) == proofs.root


def test_an_empty_journal_has_a_root() -> None:
    """That of no leaves."""
    assert prove([]).root == by_definition([])


@settings(max_examples=60)
@given(size=st.integers(1, 300), data=st.data())
def test_nothing_but_the_leaf_in_its_place_leads_to_the_root(size: int, data: st.DataObject) -> None:
    """Another leaf, another place, another size, a path with more, fewer or other hashes."""
    leaves = some_leaves(size)
    index = data.draw(st.integers(0, size - 1))
    proofs = prove(leaves, [index])
    path = proofs.paths[index]
    assert root_by_path(index, size, leaves[index], path) == proofs.root
    assert root_by_path(index, size, sha256(leaves[index]).digest(), path) != proofs.root
    assert root_by_path(index, size, leaves[index], (*path, path[-1] if path else bytes(32))) != proofs.root
    for place in range(len(path)):
        changed = (*path[:place], sha256(path[place]).digest(), *path[place + 1 :])
        assert root_by_path(index, size, leaves[index], changed) != proofs.root
        assert root_by_path(index, size, leaves[index], path[:place] + path[place + 1 :]) != proofs.root
    for other in {*range(max(0, index - 3), min(size, index + 3))} - {index}:
        assert root_by_path(other, size, leaves[index], path) != proofs.root
    assert root_by_path(size, size, leaves[index], path) is None
    assert root_by_path(-1, size, leaves[index], path) is None


def test_a_leaf_holds_all_that_the_chain_holds_of_a_record() -> None:
    """Changing any one of them is another leaf."""
    known = leaf(7, 1_000, "call.screened", b"d" * 32, b"l" * 32)
    others = (
        leaf(8, 1_000, "call.screened", b"d" * 32, b"l" * 32),
        leaf(7, 1_001, "call.screened", b"d" * 32, b"l" * 32),
        leaf(7, 1_000, "call.finished", b"d" * 32, b"l" * 32),
        leaf(7, 1_000, "call.screened", b"e" * 32, b"l" * 32),
        leaf(7, 1_000, "call.screened", b"d" * 32, b"m" * 32),
    )
    assert known not in others
