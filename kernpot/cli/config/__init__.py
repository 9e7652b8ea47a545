"""The file that `kernpot learn` reads: its keys, its mistakes explained, and what is made of it."""

from __future__ import annotations
