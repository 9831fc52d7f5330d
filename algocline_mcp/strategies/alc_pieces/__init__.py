"""Pieces of a long text that end where a reader would pause."""

import re

meta = {
    "name": "alc_pieces",
    "version": "1.0.0",
    "type": "library",
    "category": "built in",
    "description": "Cuts a long text into pieces that end with a paragraph, a line, a sentence or a word",
}

# The best end of a piece comes first.
_ENDS = [re.compile(pattern) for pattern in (r"\n[ \t]*\n", r"\n", r"[.!?…][\"')\]»”’]?\s|[。！？]", r"\s")]


def pieces_of(text: str, chars: int) -> list[str]:
    """Pieces of at most `chars` characters. Together they are the text, without pieces that are blank."""
    pieces, start = [], 0
    while len(text) - start > chars:
        end = _end_of_piece(text, start, chars)
        pieces.append(text[start:end])
        start = end
    return [piece for piece in [*pieces, text[start:]] if piece.strip()]


def _end_of_piece(text: str, start: int, chars: int) -> int:
    """The last good end in the second half of the piece that begins at `start`."""
    limit = start + chars
    for pattern in _ENDS:
        ends = [match.end() for match in pattern.finditer(text, start + chars // 2, limit)]
        if ends:
            return ends[-1]
    return limit
