"""Names that come from users' files, as text: nothing in them is obeyed by a terminal or a plot."""

from __future__ import annotations

import re

from markupsafe import Markup

# Control characters but line breaks and tabs, marks that turn the direction of writing, and halves of characters, which
# stand for bytes of file names that are no text.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: object) -> str:
    """Text in which what a terminal would obey is written out."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), str(text))


def plot_text(name: object) -> str:
    """A name as matplotlib writes it: dollars begin no formula, and a leading underscore hides no legend entry."""
    text = " ".join(visible(name).split("\n")).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def as_text(value: object) -> object:
    """What a template writes: text is made visible, marked-up parts of the page stay as they are."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
