"""Lists that people write as options: policies and seeds."""

from __future__ import annotations

from sim.errors import InputError


def split(policies: str) -> tuple[str, ...]:
    """Policies between commas; commas inside parentheses belong to parameters."""
    parts, depth = [""], 0
    for letter in policies:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(part.strip() for part in parts if part.strip())


def seeds_of(text: str) -> tuple[int, ...]:
    """`5` is the seeds 1 to 5; `7,8,9` are these.

    Raises:
        InputError: it is neither.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise InputError(
            f"'{text}' names no seeds", "Write how many, as in 5, or which, as in 7,8,9."
        )
    if "," in text:
        return tuple(int(part) for part in parts)
    if not 1 <= int(text) <= 100_000:
        raise InputError(f"{text} seeds make no sense", "Ask for 1 to 100000.")
    return tuple(range(1, int(text) + 1))
