"""What the pages of Headgate share: one file, drawn here, that loads nothing from anywhere."""

from datetime import UTC, datetime
from html import escape
from typing import Final

WIDTH: Final = 1000
"""Of a drawing; it is stretched to the width of the page."""

_DAY_MS: Final = 86_400_000
_CALENDAR_FROM_MS: Final = 365 * _DAY_MS  # what is before 1971 counts from its own beginning

_STYLE: Final = """
:root { color-scheme: light dark; --page: #fff; --ink: #1c1e21; --dim: #5d646c; --line: #d9dde1;
  --field: #f3f4f6; --link: #1f5fae; }
@media (prefers-color-scheme: dark) { :root { --page: #14161a; --ink: #e6e8eb; --dim: #9aa2ab;
  --line: #333941; --field: #1d2127; --link: #7db4f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 20px 16px 48px; background: var(--page);
  color: var(--ink); font: 15px/1.45 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 36px 0 4px; }
h3 { font-size: 15px; margin: 0; overflow-wrap: anywhere; } h3 a { color: inherit; }
p { margin: 4px 0; } .dim, figcaption, th { color: var(--dim); } a { color: var(--link); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { font-weight: 500; text-align: right; } td { text-align: right; white-space: nowrap; }
th, td { padding: 4px 8px; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, .text { text-align: left; } td.text { white-space: normal; }
td:first-child { overflow-wrap: anywhere; white-space: normal; min-width: 80px; }
figure { margin: 0 0 8px; } figcaption { font-size: 12px; }
svg { display: block; width: 100%; }
.box { background: var(--field); position: relative; border-radius: 3px; overflow: hidden; }
.axis { display: flex; justify-content: space-between; font-size: 12px; color: var(--dim); }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; margin: 8px 0 4px; }
.key span { display: inline-flex; align-items: center; gap: 6px; }
.key svg { width: 18px; height: 14px; background: var(--field); }
@media (max-width: 520px) { th, td { padding: 4px; font-size: 12.5px; } }
details { font-size: 14px; } summary { cursor: pointer; color: var(--link); }
pre { background: var(--field); padding: 10px 12px; border-radius: 6px; overflow-x: auto;
  font-size: 13px; margin: 6px 0; }
"""


def document(title: str, style: str, body: str) -> str:
    """Return a page.

    Args:
        title: Plain text.
        style: Of this page, beyond what all have.
        body: HTML.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style></head>"
        f"<body>{body}</body></html>\n"
    )


class Timeline:
    """The time that all drawings of a page share."""

    def __init__(self, begin_ms: int, end_ms: int, bins: int) -> None:
        self.begin_ms = begin_ms
        self.end_ms = max(end_ms, begin_ms + 1)
        self.bins = bins

    def x(self, at_ms: int) -> float:
        """Return where a time is in a drawing."""
        return (at_ms - self.begin_ms) * WIDTH / (self.end_ms - self.begin_ms)

    def bin(self, at_ms: int) -> int:
        """Return in which of the bins it falls."""
        at = (at_ms - self.begin_ms) * self.bins // (self.end_ms - self.begin_ms)
        return min(self.bins - 1, at)

    def words(self, at_ms: int) -> str:
        """Return a time as people write it, in UTC."""
        return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"

    def period(self) -> str:
        """Return from when to when; of a recording that does not say when it was, how long."""
        if self.begin_ms < _CALENDAR_FROM_MS:
            return f"{(self.end_ms - self.begin_ms) / _DAY_MS:,.1f} days"
        return f"{self.words(self.begin_ms)} to {self.words(self.end_ms)} UTC"

    def axis(self) -> str:
        """Return the marks below a drawing."""
        span_ms = self.end_ms - self.begin_ms
        marks = [self.begin_ms + span_ms * n // 4 for n in (0, 2, 4)]
        return (
            '<div class="axis">'
            + "".join(f"<span>{self._mark(m)}</span>" for m in marks)
            + ("</div>")
        )

    def _mark(self, at_ms: int) -> str:
        long = self.end_ms - self.begin_ms > _DAY_MS
        time = datetime.fromtimestamp(at_ms / 1000, UTC)
        if self.begin_ms < _CALENDAR_FROM_MS:
            return f"day {at_ms // _DAY_MS + 1}, {time:%H:%M}" if long else f"{time:%H:%M:%S}"
        return f"{time:%d %b %H:%M}" if long else f"{time:%H:%M:%S}"


def counted(number: int, what: str) -> str:
    """Return a number with its noun, which takes a plain plural."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def svg(kind: str, height: int, label: str, inner: str) -> str:
    """Return a drawing of class ``kind`` that fills the width."""
    return (
        f'<svg class="{kind}" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(label, quote=True)}">{inner}</svg>'
    )


def block(x: float, y: float, width: float, height: float) -> str:
    """Return a rectangle as a part of a path."""
    return f"M{x:.5g} {y:.4g}h{width:.4g}v{height:.4g}h{-width:.4g}z"


def key(shape: str, words: str) -> str:
    """Return an entry of a key: a shape of 18 by 14, and what it means (HTML)."""
    return f'<span><svg viewBox="0 0 18 14" aria-hidden="true">{shape}</svg>{words}</span>'
