"""The picture of imports by room in CONTRIBUTING.md, drawn from what ``test_imports`` reads.

python -m tests.rooms        # prints it
"""

from __future__ import annotations

from tests.test_imports import MODULES, TOP, dotted, imports, room

# From the bottom of the house to its top.
FLOORS = (
    ("errors", "config", "atomic"),
    ("layers", "data", "evaluation", "viz", "records"),
    ("losses", "models", "ledger"),
    ("integrations", "profiling", "training", "batch"),
    ("experiments", "experiments.shared"),
    ("experiments.chapter",),
    ("commands",),
)


def arrows() -> set[tuple[str, str]]:
    """(from, to) for every room that imports another one."""
    found = set()
    for module in MODULES:
        here = room(dotted(module))
        if here in TOP - {"commands"}:
            continue
        for name in imports(module.read_text(encoding="utf-8")):
            if name.startswith("svitt.") and (there := room(name)) != here and there not in TOP:
                found.add((here, there))
    return found


def picture() -> str:
    """One line per room, upper floors first: what it imports."""
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    lines = []
    for number in range(len(FLOORS) - 1, -1, -1):
        for name in FLOORS[number]:
            below = sorted({to for start, to in arrows() if start == name}, key=lambda r: (-floor[r], r))
            lines.append(f"{name:<20} -> {', '.join(below)}" if below else f"{name:<20}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(picture(), end="")
