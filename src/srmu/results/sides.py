"""Which side a group of questions or texts is on. Nothing else in srmu decides that.

- `forget`: it asks about what is to be forgotten; good results are low.
- `kept`: it asks about what must stay.
- `reported`: it is shown and neither praised nor blamed, such as other facts about a forgotten name.

What the user declared (`--sides NAME=SIDE`) counts first. Then the last part of the name, after a dot, and then the
whole name: `forget`, `neighbour` or `neighbor`, `kept`, `keep` or `retain` at its beginning, in capitals or not. A name
that says none of these, such as `wmdp_bio`, is kept, and srmu says before it trains that it took it so.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from srmu.config.groups import Side
from srmu.errors import InputError, nearest_hint

NOTHING_DECLARED: Mapping[str, Side] = MappingProxyType({})
_BEGINNINGS: tuple[tuple[str, Side], ...] = (
    ("forget", "forget"), ("neighbour", "reported"), ("neighbor", "reported"),
    ("kept", "kept"), ("keep", "kept"), ("retain", "kept"),
)  # fmt: skip


def side_of(group: str, declared: Mapping[str, Side] = NOTHING_DECLARED) -> Side:
    """The side of a group.

    Args:
        group: Its name.
        declared: Sides by name, as the user gave them.
    """
    return declared.get(group) or _said_by(group) or "kept"


def sides_of(groups: Iterable[str], declared: Mapping[str, Side] = NOTHING_DECLARED) -> dict[str, Side]:
    """The side of each group, in their order."""
    return {group: side_of(group, declared) for group in groups}


def check_sides(declared: Mapping[str, Side], groups: Iterable[str]) -> None:
    """Refuse a side for a group that does not exist.

    Raises:
        InputError: Naming the nearest group.
    """
    known = list(groups)
    if unknown := [name for name in declared if name not in known]:
        raise InputError(
            f"A side was given for {unknown[0]!r}, and there is no such group.{nearest_hint(unknown[0], known)} "
            f"Groups: {', '.join(known) or 'none'}."
        )


def describe_sides(groups: Iterable[str], declared: Mapping[str, Side] = NOTHING_DECLARED) -> str:
    """One sentence that names the groups of each side, and those whose names left it open; empty without groups."""
    sides = sides_of(groups, declared)
    words = {"forget": "to be forgotten", "kept": "to be kept", "reported": "only reported"}
    parts = []
    for side, meaning in words.items():
        if names := [name for name, found in sides.items() if found == side]:
            parts.append(f"{', '.join(names)} {meaning}")
    if not parts:
        return ""
    sentence = f"Groups: {'; '.join(parts)}."
    if unclear := [name for name in sides if name not in declared and _said_by(name) is None]:
        sentence += (
            f" By name alone nothing says so of {', '.join(unclear)}; if it is to be forgotten, say --sides "
            f"{unclear[0]}=forget."
        )
    return sentence


def _said_by(group: str) -> Side | None:
    name = group.casefold()
    for part in (name.rpartition(".")[2].strip(), name):
        for beginning, side in _BEGINNINGS:
            if part.startswith(beginning):
                return side
    return None
