"""Removes what a model thought before its answer."""

import re
from unicodedata import ucd_3_2_0 as unicode  # frozen: a replay under another Python reads the same

_TAG = re.compile(
    r"[<◁]\s{0,3}(/?)\s{0,3}(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad)\b[^<>◁▷]{0,200}[>▷]",
    re.IGNORECASE,
)
_PUNCTUATION = str.maketrans({"−": "-", "﹣": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "\ufeff": " "})
_HEAD_CHARS = 2 * 1024
_TAIL_CHARS = 6 * 1024


def spoken(text: str) -> str:
    """The text after the last closing tag, without what follows an opening that is never closed."""
    start, end = 0, len(text)
    for tag in _TAG.finditer(text):
        if tag[1]:
            start, end = tag.end(), len(text)
        elif end == len(text):
            end = tag.start()
    return text[start:end]


def plain(text: str) -> str:
    """The spoken text (of a long one both ends) with digits and punctuation of any script as ASCII has them."""
    text = spoken(text)
    if len(text) > _HEAD_CHARS + _TAIL_CHARS:  # the verdict stands at an end; what is between costs nothing
        text = text[:_HEAD_CHARS] + " \n" + text[-_TAIL_CHARS:]
    text = text.translate(_PUNCTUATION)
    if text.isascii():
        return text
    digits = (str(unicode.decimal(c, c)) if not c.isascii() else c for c in unicode.normalize("NFKC", text))
    return "".join(digits).translate(_PUNCTUATION)
