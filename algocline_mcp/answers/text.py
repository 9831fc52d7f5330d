"""Text of an answer as its readers see it: without thinking, markup and other scripts' digits.

A model that thinks aloud writes drafts of its answer into the thinking, so nothing in it is evidence. What is left is
brought into one form: markup that marks a result (`\\boxed{8}`, `[[8]]`, `<score>8</score>`, `#### 8`) becomes a line
"final answer: 8"; emphasis, quotation marks, struck-out text and lines quoted from the prompt go. The readers of
numbers and of verdicts then need one grammar of plain text. JSON is read from the text without its thinking alone.

Each function takes time in proportion to the text: no pattern below can backtrack over more than its named limit.
"""

import re

_NAMES = (
    r"(?:think|thinking|thought|thoughts|reasoning|reason|analysis|reflection|scratchpad|seed:think|begin_of_thought)"
)
# How models open and close their thinking: tags of HTML, of Kimi (◁think▷), of Mistral ([THINK]), of gpt-oss.
_OPENING = re.compile(
    rf"<\|?{_NAMES}\b[^<>\n]{{0,80}}>|◁think▷|\[THINK\]|<\|channel\|>(?:analysis|commentary)<\|message\|>",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    rf"</{_NAMES}\s{{0,9}}>|<\|end_of_thought\|>|◁/think▷|\[/THINK\]|<\|channel\|>final<\|message\|>", re.IGNORECASE
)


def without_thinking(text: str) -> str:
    """What follows the last closing tag of thinking, up to an opening tag that is never closed.

    A tag inside a quoted string (a JSON text, a code span) is not a tag: a string that begins on the same line of the
    answer encloses it. The tag `</think>` alone is one too: templates put the opening tag into the prompt.
    """
    closing = _last_tag(_CLOSING, text)
    rest = text if closing is None else text[closing.end() :]
    opening = _first_tag(rest)
    return rest if opening is None else rest[: opening.start()]


def _last_tag(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    is_opened, last = False, None
    first_opening = _first_tag(text)
    for match in pattern.finditer(text):
        is_opened = first_opening is not None and first_opening.start() < match.start()
        if is_opened or not _is_quoted(text, match):
            last = match
    return last


def _first_tag(text: str) -> re.Match[str] | None:
    return next((match for match in _OPENING.finditer(text) if not _is_quoted(text, match)), None)


_LINE_CHARS = 400  # so far back is a quotation mark looked for


def _is_quoted(text: str, tag: re.Match[str]) -> bool:
    line = text[max(0, tag.start() - _LINE_CHARS) : tag.start()].rpartition("\n")[2]
    return line.endswith("`") or line.count('"') % 2 == 1


_DIGITS = {
    ord(char): str(value)
    for zero in "٠۰०০௦๐０"
    for value, char in enumerate(map(chr, range(ord(zero), ord(zero) + 10)))
}
_WIDE = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F) if not 0xFF10 <= code <= 0xFF19}
_MARKS = {
    ord("−"): "-", ord("‐"): "-", ord("‑"): "-", ord("﹣"): "-", ord("’"): "'", ord("‘"): "'",
    ord("。"): ". ", ord("、"): ", ",
    ord("\u00a0"): " ", ord("\u202f"): " ", ord("\u2009"): " ", ord("\u3000"): " ",
    ord("\ufeff"): "", ord("\ufe0f"): "",
    ord("\u20e3"): "", ord("\r"): "\n", ord("\u2028"): "\n", ord("\u2029"): "\n", ord("…"): "...",
    **dict.fromkeys(map(ord, '"“”„«»`'), ""), **dict.fromkeys(map(ord, "「」『』"), " "),
}  # fmt: skip
_CHARS = str.maketrans(_DIGITS | _WIDE | _MARKS)

_RESULT = r"\nfinal answer: \1\n"
_MARKUP = [
    (re.compile(r"~~[^~\n]{0,400}~~"), " "),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}\n]{0,200})\}"), r"\1"),
    (re.compile(r"\\boxed\{([^{}\n]{0,200})\}"), _RESULT),
    (re.compile(r"\[\[([^\[\]\n]{1,200})\]\]"), _RESULT),
    (re.compile(r"^####[ \t]{1,9}([^\n]{1,200})$", re.MULTILINE), _RESULT),
    (re.compile(r"<([a-z_]{1,30})>\s{0,20}([^<>]{1,200}?)\s{0,20}</\1>", re.IGNORECASE), r"\n\1: \2\n"),
    (re.compile(r"<\|[^|<>\n]{1,40}\|>|</?(?:b|i|em|strong|br|p|code|span)\s{0,3}/?>", re.IGNORECASE), "\n"),
    (re.compile(r"^[ \t]{0,8}(?:```|~~~)[^\n]{0,40}$", re.MULTILINE), ""),
    (re.compile(r"\*+|\\[()\[\],;!]|(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9])|(?<![A-Za-z])\$(?=[^\d]|$)"), ""),
]
_QUOTED_LINE = re.compile(r"^[ \t]{0,8}>[^\n]*$", re.MULTILINE)


# A verdict stands at one of the ends of a long text. What is between is not read, so that a hostile megabyte costs no
# more than these: the most expensive repetition takes 10 us a character.
_HEAD_CHARS = 8 * 1024
_TAIL_CHARS = 16 * 1024


def plain(text: str) -> str:
    """The answer without thinking and markup, in one spelling of digits, minus signs, blanks and full stops."""
    result = without_thinking(text)
    if len(result) > _HEAD_CHARS + _TAIL_CHARS:
        result = f"{result[:_HEAD_CHARS]} \n{result[-_TAIL_CHARS:]}"
    result = result.translate(_CHARS)
    for pattern, replacement in _MARKUP:
        result = pattern.sub(replacement, result)
    own_words = _QUOTED_LINE.sub("", result)
    return own_words if own_words.strip() else result
