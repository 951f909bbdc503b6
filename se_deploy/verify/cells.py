"""HTML tables whose every number says where in the report's JSON it stands (`data-key`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


class Values:
    """Looks values up in a report's JSON and draws them."""

    def __init__(self, report: Any) -> None:
        self._report = report

    def get(self, key: str) -> Any:
        """The value at a key such as `runs.0.latency_ms.p50`; None where the way to it ends in a null."""
        value = self._report
        for part in key.split("."):
            if value is None:
                return None
            value = value[int(part)] if isinstance(value, list) else value[part]
        return value

    def number(self, key: str, form: str = ".3g", unit: str = "") -> str:
        """A number; a dash where there is none."""
        value = self.get(key)
        if value is None:
            return "–"
        return f'<span data-key="{escape(key)}">{value:{form}}</span>{unit}'

    def share(self, key: str) -> str:
        """A percentage with its interval below it."""
        return self.interval(key, ".2f", " %")

    def interval(self, key: str, form: str, unit: str = "") -> str:
        """A value, and its interval in small print."""
        if self.get(key) is None:
            return "–"
        low, high = self.number(f"{key}.low", form), self.number(f"{key}.high", form)
        return f"{self.number(f'{key}.value', form)}{unit}<br><small>[{low}, {high}]</small>"


def name(text: str | None) -> str:
    """A text that may be long, escaped."""
    return f"<td class=name>{escape(text or '–')}</td>"


def cell(markup: str) -> str:
    """A cell of finished markup."""
    return f"<td>{markup}</td>"


def table(caption: str, headings: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table that scrolls by itself where the screen is narrow; empty where there are no rows."""
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    if not body:
        return ""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    return f"<div class=wide><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
