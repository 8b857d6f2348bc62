"""Groups of pictures that are likely the same one, edited: each close to another of its group."""

from __future__ import annotations

from collections.abc import Iterator

from latent8.library.library import Hit, Library
from latent8.library.records import Record

MIN_SCORE = 0.85  # docs/LIBRARY.md has how the scores of edits and of different photos are spread
NEIGHBOURS = 20  # of each picture that are looked at


def duplicate_groups(library: Library, min_score: float = MIN_SCORE) -> Iterator[list[Hit]]:
    """Groups of two or more, largest pictures first; the score is that to the nearest of the group.

    Blobs with the same bytes are one record, so these are other versions: another size, quality, crop or format.
    """
    records: dict[str, Record] = {}
    parent: dict[str, str] = {}
    nearest: dict[str, float] = {}
    for record in library.records():
        for hit in library.search(record, NEIGHBOURS, min_score=min_score):
            if hit.record.id == record.id:
                continue
            records |= {record.id: record, hit.record.id: hit.record}
            for key in (record.id, hit.record.id):
                nearest[key] = max(nearest.get(key, -1.0), hit.score)
            parent[_root(parent, record.id)] = _root(parent, hit.record.id)
    groups: dict[str, list[Record]] = {}
    for key, record in records.items():
        groups.setdefault(_root(parent, key), []).append(record)
    for group in groups.values():
        ordered = sorted(group, key=lambda record: (-record.width * record.height, -record.bytes, record.name))
        yield [library.hit(record, nearest[record.id]) for record in ordered]


def _root(parent: dict[str, str], key: str) -> str:
    while parent.setdefault(key, key) != key:
        parent[key] = parent[parent[key]]
        key = parent[key]
    return key
