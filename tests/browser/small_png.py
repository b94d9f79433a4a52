"""Pictures of pages in few bytes: of the 256 colours that matter most."""

import base64
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Final

from playwright.async_api import Page

_COLOURS: Final = 256
_PIXELS: Final = """async address => {
  const image = new Image();
  image.src = address;
  await image.decode();
  const drawn = new OffscreenCanvas(image.width, image.height).getContext("2d");
  drawn.drawImage(image, 0, 0);
  const seen = drawn.getImageData(0, 0, image.width, image.height).data;
  let bytes = "";
  for (let at = 0; at < seen.length; at += 4)
    bytes += String.fromCharCode(seen[at], seen[at + 1], seen[at + 2]);
  return [image.width, btoa(bytes)];
}"""

Colour = bytes


async def small(page: Page, png: bytes) -> bytes:
    """Return a picture with a palette. Chromium reads it, on a page that lets it: a blank one."""
    address = "data:image/png;base64," + base64.b64encode(png).decode()
    width, text = await page.evaluate(_PIXELS, address)
    seen = base64.b64decode(text)
    pixels = [seen[at : at + 3] for at in range(0, len(seen), 3)]
    palette = _palette(Counter(pixels))
    place = {colour: _nearest(palette, colour) for colour in set(pixels)}
    rows = [
        b"\0" + bytes(place[colour] for colour in pixels[at : at + width])
        for at in range(0, len(pixels), width)
    ]
    header = struct.pack(">IIBBBBB", width, len(rows), 8, 3, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, content)
        for kind, content in (
            (b"IHDR", header),
            (b"PLTE", b"".join(palette)),
            (b"IDAT", zlib.compress(b"".join(rows), 9)),
            (b"IEND", b""),
        )
    )


def _palette(counts: Counter[Colour]) -> list[Colour]:
    """Return colours one by one: each time that whose loss would be seen most."""
    palette: list[Colour] = []
    lost = dict.fromkeys(counts, 1 << 20)
    while len(palette) < min(_COLOURS, len(counts)):
        palette.append(max(counts, key=lambda colour: counts[colour] * lost[colour]))
        for colour in counts:
            lost[colour] = min(lost[colour], _distance(palette[-1], colour))
    return palette


def _nearest(palette: Sequence[Colour], colour: Colour) -> int:
    return min(range(len(palette)), key=lambda number: _distance(palette[number], colour))


def _distance(one: Colour, other: Colour) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )
