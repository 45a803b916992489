"""A tree of hashes over all records of the journal, and the short path that proves one record to be in it.

The tree is that of RFC 9162 (certificate transparency), section 2.1: the root of a journal of five million records is
32 bytes, and the path of one record in it 23 times 32. It needs no key, which the links of the chain do (see
``agent.domain.chain``): so anyone can check a path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

_BLOCK_LEVELS: Final = 10
_BLOCK: Final = 1 << _BLOCK_LEVELS
"""Leaves that are taken together; whole blocks without a wanted leaf are the fast case."""
_EMPTY: Final = sha256(b"").digest()


def leaf(seq: int, at_us: int, event_type: str, digest: bytes, link: bytes) -> bytes:
    """The hash of one record: all that the chain holds of it, the body by its salted digest."""
    return sha256(b"\0%d\0%d\0%b\0%b%b" % (seq, at_us, event_type.encode(), digest, link)).digest()


@dataclass(frozen=True, slots=True)
class Proofs:
    """A tree, and the paths in it that were asked for."""

    size: int
    root: bytes
    paths: Mapping[int, tuple[bytes, ...]]
    """By the index of the leaf (from 0): its siblings from the bottom up."""


def prove(leaves: Iterable[bytes], wanted: Collection[int] = ()) -> Proofs:
    """The root over ``leaves`` and the paths of the ``wanted`` ones, in one pass and little memory."""
    paths: dict[int, list[bytes]] = {index: [] for index in wanted}
    ordered = sorted(paths)
    whole: list[_Node] = []
    size, partial = 0, None
    for block in _blocks(leaves):
        inside = [index for index in ordered if size <= index < size + len(block)]
        node = _Node(_BLOCK_LEVELS, _subtree(block, size, inside, paths), inside)
        size += len(block)
        if len(block) < _BLOCK:
            partial = node
            break
        while whole and whole[-1].level == node.level:
            node = _joined(whole.pop(), node, paths)
        whole.append(node)
    root = partial
    for node in reversed(whole):
        root = node if root is None else _joined(node, root, paths)
    return Proofs(size, root.hash if root else _EMPTY, {index: tuple(path) for index, path in paths.items()})


def root_by_path(index: int, size: int, leaf_hash: bytes, path: Sequence[bytes]) -> bytes | None:
    """The root of a tree of ``size`` in which ``path`` leads up from leaf ``index``; None when no such path can be.

    RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        return None
    here, last, found = index, size - 1, leaf_hash
    for sibling in path:
        if last == 0:
            return None
        if here & 1 or here == last:
            found = _parent(sibling, found)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            found = _parent(found, sibling)
        here, last = here >> 1, last >> 1
    return found if last == 0 else None


@dataclass(frozen=True, slots=True)
class _Node:
    """A subtree: ``level`` (of whole ones), its hash, and the wanted leaves in it."""

    level: int
    hash: bytes
    wanted: list[int]


def _joined(left: _Node, right: _Node, paths: dict[int, list[bytes]]) -> _Node:
    for index in left.wanted:
        paths[index].append(right.hash)
    for index in right.wanted:
        paths[index].append(left.hash)
    return _Node(left.level + 1, _parent(left.hash, right.hash), left.wanted + right.wanted)


def _parent(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def _subtree(block: list[bytes], start: int, inside: list[int], paths: dict[int, list[bytes]]) -> bytes:
    """The hash over ``block``, whose first leaf has the index ``start``. Odd ends go up as they are."""
    level, places = block, {index: index - start for index in inside}
    while len(level) > 1:
        for index, place in places.items():
            if place ^ 1 < len(level):
                paths[index].append(level[place ^ 1])
            places[index] = place >> 1
        pairs = zip(level[::2], level[1::2], strict=False)
        odd = level[-1:] if len(level) & 1 else []
        level = [sha256(b"\1" + left + right).digest() for left, right in pairs] + odd
    return level[0]


def _blocks(leaves: Iterable[bytes]) -> Iterator[list[bytes]]:
    block: list[bytes] = []
    for one in leaves:
        block.append(one)
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block
