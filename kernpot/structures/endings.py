"""Whether a text file ends as its format must: a last number that was cut short would be read as another number."""

from __future__ import annotations

import re
from statistics import median

from kernpot.errors import StructureError

MOST_DECIMALS = 6
"""Of a column of numbers with as many digits as each needs: what is cut behind so many does no harm."""

FEWEST_DECIMALS = 3
"""Columns with fewer were typed by hand and say nothing about the last number."""

_N_CHARACTERS = 100_000
_NUMBER = re.compile(r"[-+]?\d*\.?(\d*)(?:[eEdD]([-+]?\d*))?")


def require_whole_end(text: str, where: str) -> None:
    """Refuse a text that ends within a number, as far as the numbers above it tell.

    Texts that end with a line, or with a space, are whole. Of others the last number is compared with those above it in
    its column, or with others of its line where there are none: it is cut if it has fewer decimals.

    Parameters
    ----------
    text : str
        Of a file, or its last lines.
    where : str
        How the message names the file.

    Raises
    ------
    StructureError
        The last word is cut short.
    """
    if not text or text[-1].isspace():
        return
    rows = [line.split() for line in text[-_N_CHARACTERS:].splitlines()]
    *words, last = rows[-1]
    above = [row[-1] for row in rows[:-1] if len(row) == len(words) + 1]
    if _is_cut(last, above or [word for word in words if "." in word]):
        raise StructureError(
            f"{where}: ends within a line, and its last word {last!r} is shorter than those above it: the file is cut"
            " short. Get the whole file, or remove the last frame; if the file is whole, end it with an empty line."
        )


def _is_cut(last: str, others: list[str]) -> bool:
    numbers = [found for found in map(_NUMBER.fullmatch, others) if found is not None]
    number = _NUMBER.fullmatch(last)
    if number is None:  # such as C of Cu
        return last not in others and any(word.startswith(last) for word in others)
    decimals = [len(found.group(1)) for found in numbers]
    if not decimals or median(decimals) < FEWEST_DECIMALS:
        return False
    exponents = {len(found.group(2)) for found in numbers if found.group(2) is not None}
    if number.group(2) is not None and exponents and len(number.group(2)) < min(exponents):
        return True
    if len(set(decimals)) == 1:
        # "1.5e-05" cut to "1.5" has all its decimals
        lost_exponent = number.group(2) is None and all(found.group(2) is not None for found in numbers)
        return len(number.group(1)) < decimals[0] or lost_exponent
    return len(number.group(1)) < min(median(decimals), MOST_DECIMALS)
