"""The rooms of the package as a table and a picture, from pyproject.toml and the sources.

python docs/rooms.py      # prints the imports between rooms, and those that point the wrong way
"""

import ast
import tomllib
from collections import Counter
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "srmu"
ROW, LEFT, WIDTH = 34, 150, 760


def rooms() -> list[str]:
    """In the order in which they may import."""
    declared: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["srmu"]["rooms"]
    return declared


def purpose(room: str) -> str:
    """The first line of the room's own docstring."""
    file = PACKAGE / room / "__init__.py"
    tree = ast.parse((file if file.is_file() else PACKAGE / f"{room}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").split("\n")[0]


def imports() -> Counter[tuple[str, str]]:
    """How many import lines of a room name another one."""
    found: Counter[tuple[str, str]] = Counter()
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                parts = name.split(".")
                if parts[0] == "srmu" and len(parts) > 1 and parts[1] != room:
                    found[room, parts[1]] += 1
    return found


def upwards() -> list[tuple[str, str]]:
    """Imports against the order."""
    order = {room: place for place, room in enumerate(rooms())}
    return [pair for pair in imports() if pair[0] in order and pair[1] in order and order[pair[1]] > order[pair[0]]]


def table() -> str:
    """Markdown: each room with its purpose."""
    lines = [f"| `{room}` | {purpose(room)} |" for room in rooms()]
    return "\n".join(["| room | what it holds |", "|---|---|", *lines])


def picture() -> str:
    """An SVG: rooms from top to bottom, an arc for each pair of rooms, as wide as it has imports."""
    order = {room: place for place, room in enumerate(rooms())}
    height = ROW * len(order) + 10
    drawn = []
    for (one, other), count in sorted(imports().items()):
        if one not in order or other not in order:
            continue
        top, bottom = (order[other] * ROW + 22, order[one] * ROW + 22)
        bend = LEFT + 20 + 0.95 * abs(bottom - top)
        colour = "#00897b" if bottom > top else "#c62828"
        stroke = min(6.0, 0.6 + count / 8)
        drawn.append(
            f'<path d="M {LEFT} {bottom} C {bend:.0f} {bottom}, {bend:.0f} {top}, {LEFT} {top}" fill="none" '
            f'stroke="{colour}" stroke-opacity="0.45" stroke-width="{stroke:.1f}">'
            f"<title>{escape(one)} imports {escape(other)} {count} times</title></path>"
        )
    for room, place in order.items():
        y = place * ROW + 22
        drawn.append(
            f'<rect x="4" y="{y - 13}" width="{LEFT - 8}" height="26" rx="5" fill="#e0f2f1" stroke="#00897b"/>'
            f'<text x="{LEFT / 2}" y="{y + 5}" text-anchor="middle" font-family="sans-serif" font-size="14" '
            f'fill="#004d40">{escape(room)}</text>'
        )
    title = "Imports between rooms: every arc leads from a room to one above it"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" '
        f'aria-label="{title}"><title>{title}</title>{"".join(drawn)}</svg>'
    )


if __name__ == "__main__":
    for (one, other), count in sorted(imports().items()):
        print(f"{one} -> {other}: {count}")
    print("against the order:", upwards() or "none")
