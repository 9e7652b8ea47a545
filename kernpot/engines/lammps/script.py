"""Input scripts with ``pair_style kernpot``: which style LAMMPS is given instead, and where to stop on the way."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kernpot.errors import KernpotError

STYLE = "kernpot"
_ASKED = ("std", "force_std")
_WRITE = "pair_style kernpot\n    pair_coeff * * Si O    (the element of every atom type)"


@dataclass(frozen=True)
class Script:
    """An input script in two parts, with what comes in between.

    Attributes
    ----------
    before, after : str
        Commands up to ``pair_style kernpot``, and from there on without it and its ``pair_coeff``.
    elements : tuple of str
        Symbol of every atom type.
    pair_style : str
        Arguments of the pair style that takes the place; ``{cutoff}`` stands for the potential's.
    every : dict of str to int
        Steps between standard deviations, by what they are of: ``std`` and ``force_std``.
    halts : tuple of str
        Conditions on the largest std of a force at which a ``fix halt`` ends a run, such as ``>0.3``.
    """

    before: str
    after: str
    elements: tuple[str, ...]
    pair_style: str
    every: dict[str, int]
    halts: tuple[str, ...] = ()


def split_script(text: str, name: str) -> Script:
    """Find ``pair_style kernpot`` and its ``pair_coeff`` in an input script.

    ``pair_style kernpot force_std 20`` asks for error bars of forces every 20 steps, and ``pair_style hybrid/overlay
    kernpot force_std 20 zbl 1.0 2.0`` adds to styles of LAMMPS; the line then is ``pair_coeff * * kernpot Si``.

    Parameters
    ----------
    text : str
    name : str
        Of the script, for messages.

    Raises
    ------
    KernpotError
        Without exactly one of each.
    """
    lines = _commands(text)
    styles = [k for k, line in enumerate(lines) if _words(line)[:1] == ["pair_style"] and STYLE in _words(line)]
    if len(styles) != 1:
        raise KernpotError(
            f"{name}: expected one line 'pair_style kernpot', got {len(styles)}; files that the script includes are "
            f"not looked at. Write\n    {_WRITE}"
        )
    place = styles[0]
    style = _words(lines[place])[1:]
    hybrid = style[0] != STYLE
    at = style.index(STYLE)
    every, others = _settings(style[at + 1 :], name)
    if STYLE in others or (not hybrid and others) or (hybrid and style[0] != "hybrid/overlay"):
        raise KernpotError(
            f"{name}: expected 'pair_style kernpot', 'pair_style kernpot force_std 20' or 'pair_style hybrid/overlay "
            f"kernpot ...', got {lines[place].strip()!r}; the model file is given by --model, not here."
        )
    rest = lines[place + 1 :]
    own = [k for k, line in enumerate(rest) if _is_coefficients(_words(line), hybrid)]
    if len(own) != 1:
        raise KernpotError(
            f"{name}: expected one line 'pair_coeff * * {'kernpot ' if hybrid else ''}' and the element of every atom "
            f"type after 'pair_style', got {len(own)} of them. Write\n    {_WRITE}"
        )
    _require_gates_that_see(rest, every.get("force_std", 0), name)
    elements = _words(rest[own[0]])[4 if hybrid else 3 :]
    # Hybrid styles want coefficients of every style; they are given where the script gives them.
    rest[own[0]] = "pair_coeff * * zero" if hybrid else ""
    arguments = " ".join([*style[:at], "zero {cutoff}", *others])
    return Script(
        "\n".join(lines[:place]) + "\n",
        "\n".join(rest) + "\n",
        tuple(elements),
        arguments,
        every,
        halts_of("\n".join(rest)),
    )


def halts_of(text: str) -> tuple[str, ...]:
    """Conditions on the largest std of a force at which a ``fix halt`` ends a run, such as ``>0.3``."""
    return tuple("".join(words[6:8]) for line in _commands(text) if _is_halt(words := _words(line)))


def stds_asked(text: str) -> bool:
    """Whether a script asks for error bars by ``pair_style kernpot``."""
    return any(words[:1] == ["pair_style"] and STYLE in words and {*words} & {*_ASKED} for words in _all_words(text))


def needs_plugin(text: str) -> str | None:
    """What of a script the plugin alone brings: a compute of its own; None where there is nothing of the kind."""
    for words in _all_words(text):
        if words[:1] == ["compute"] and words[3:4] and words[3].startswith(f"{STYLE}/"):
            return f"compute {words[3]}"
    return None


BUILD = "Build kernpot's plugin, which is a pair style, and run again: kernpot lammps --build"
"""What serves all commands."""


def require_served(text: str, name: str, advice: str = BUILD) -> None:
    """Refuse what asks the pair style for energies or forces, which are not there: they come by ``fix external``.

    Wherever in a line it stands, as in what follows ``if`` and ``then``.

    Parameters
    ----------
    text : str
        Commands.
    name : str
        Where they stand, for messages.
    advice : str
        What would serve them.

    Raises
    ------
    KernpotError
        LAMMPS would go on, with numbers that miss all of the potential.
    """
    for line in _commands(text):
        asks = _ASKING.search(" ".join(_words(line)))
        if asks:
            told = " ".join(word for word in asks.groups() if word)
            raise KernpotError(
                f"{name}: {told} asks the pair style, and would miss the potential, which LAMMPS has by 'fix external' "
                f"here. {advice}"
            )


_FIXES = "widom|gcmc|sgcmc|charge/regulation|numdiff|numdiff/virial"
_COMPUTES = "born/matrix|group/group|pair/local|fep|fep/ta|heat/flux/virial/tally|[a-z/]+/tally"
_ASKING = re.compile(
    rf"\b(?:(fix) \S+ \S+ ({_FIXES})(?=[ \"']|$)|(compute) \S+ \S+ ({_COMPUTES})(?=[ \"']|$)"
    r"|(run_style respa)\b|(neigh_modify)\b.* (exclude)\b)"
)
_INCLUDED = re.compile(r"""\binclude\s+["']?([^\s"']+)""")


def with_included(text: str, folder: Path, depth: int = 5) -> str:
    """A script and, after it, the files that it includes by name, for what is looked for in all of them."""
    found = [text]
    for name in _INCLUDED.findall("\n".join(" ".join(words) for words in _all_words(text))) if depth else []:
        path = folder / name
        if path.is_file():
            included = path.read_text(encoding="utf-8", errors="surrogateescape")
            found.append(with_included(included, folder, depth - 1))
    return "\n".join(found)


def _require_gates_that_see(lines: list[str], every: int, name: str) -> None:
    """Refuse a halt that looks at stds at steps where there are none: in between they are not known."""
    for words in map(_words, lines):
        steps = words[4:5]
        if not _is_halt(words) or not steps or not steps[0].isdigit() or not every:
            continue
        looks = int(steps[0])
        if looks and every % looks and looks % every:
            raise KernpotError(
                f"{name}: 'fix halt' looks every {looks} steps at stds that are known every {every}: write "
                f"'fix {words[1]} {words[2]} halt {every} ...'."
            )


def _settings(words: list[str], name: str) -> tuple[dict[str, int], list[str]]:
    """What is asked of kernpot, and the words after it."""
    every: dict[str, int] = {}
    while words and words[0] in _ASKED:
        if len(words) < 2 or not words[1].isdigit():
            raise KernpotError(
                f"{name}: expected a number of steps after {words[0]!r}, as in 'pair_style kernpot {words[0]} 20', "
                f"got {' '.join(words[1:2]) or 'nothing'}."
            )
        every[words[0]] = int(words[1])
        words = words[2:]
    return every, words


def _all_words(text: str) -> list[list[str]]:
    return [_words(line) for line in _commands(text)]


def _commands(text: str) -> list[str]:
    """Lines, continued ones joined."""
    return re.sub(r"&[ \t]*\n", " ", text).split("\n")


def _words(line: str) -> list[str]:
    return line.split("#")[0].split()


def _is_coefficients(words: list[str], hybrid: bool) -> bool:
    return words[:3] == ["pair_coeff", "*", "*"] and (not hybrid or words[3:4] == [STYLE])


def _is_halt(words: list[str]) -> bool:
    return (
        words[:1] == ["fix"] and words[3:4] == ["halt"] and words[5:6] == ["v_kernpot_max_force_std"] and len(words) > 7
    )
