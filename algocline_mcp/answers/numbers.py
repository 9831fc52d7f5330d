"""Numbers and scores in answers.

The theory. A number is evidence for a result only by its place. Most numbers in an answer are none: scales, list
numbers, years, versions, names of models, counts ("3 bugs"), times. So the places are ranked. The highest rank that
occurs decides, and within it the last place, for a correction follows its draft:
  4  a final result     "final score: 7", "\\boxed{7}", "overall: 7"
  3  a label            "score (1-10): 7", "the answer is 7"; a correction: "8 ... make that 9"
  2  a line of its own, or the edge of the text: "7/10", "7 (confidence 95%)", "on the scale of 1 to 10: 7"
  1  a phrase           "I give it a 9", "this one gets a 4", "8 out of 10"
A label without a number ("score: N/A") is evidence of no result. Drafts ("initial score: 5") are no evidence. A score
is read from these places alone. A number may also stand anywhere, if it is the only one that could be meant and nothing
says that there is no answer.

In doubt the result is None, because only then is the question asked again: a range ("7-8") and each scale other than
ten ("85/100", "0.8", "85%") are no score.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from algocline_mcp.answers.text import plain

_DIGITS_READ = 300  # Python refuses to parse thousands of digits, and a float holds no more than this

# Digits with groups of thousands, fraction and exponent. Digits in a word or behind the hyphen of a name are no number.
_NUMBER = re.compile(
    r"(?<![\w.])(?<![^\W\d_]{2}-)(?<![^\W\d_][.])[+-]?(?!0[xX])"
    r"(?:\d{1,3}(?P<group>[,.' ])\d{3}(?:(?P=group)\d{3})*(?![\d])|\d++(?:_\d++)*|(?=\.\d))"
    r"(?:[.,]\d++(?:_\d++)*)?(?:[eE][+-]?\d{1,4}(?![\w])|\s?[x×]\s?10\s?\^\s?[+-]?\d{1,4})?(?:(?![\w.])|"
    r"(?=[^\W\d_])|(?=\.(?!\d)))",
    re.ASCII,
)
# After other scripts' letters a number is a number: "スコア8点". re.ASCII above makes \w their non-letters.

N = "\ue000"
"""Stands for a number in a skeleton: the text in which each number is one character."""
V = "\ue001"
"""Stands for numbers in a skeleton that are none by themselves: a range, a scale."""


class _Skeleton(NamedTuple):
    text: str
    values: list[float | None]  # of each N, in order; None: a number that is no result

    def value_at(self, position: int) -> float | None:
        return self.values[self.text.count(N, 0, position)]


def _value(token: str) -> float | None:
    """The value of what _NUMBER matches, or None where its separators allow two readings."""
    mantissa, _, exponent = re.sub(r"\s?[x×]\s?10\s?\^\s?", "e", token).lower().partition("e")
    digits = mantissa.replace("_", "")
    separators = [char for char in digits if not char.isdigit() and char not in "+-"]
    if len(separators) > 1 and len(set(separators)) == 1:  # 1,234,567
        digits = digits.replace(separators[0], "")
    elif len(set(separators)) > 1:  # 1,234.5 and 1.234,5: the last one is of the fraction
        digits = (
            "".join(char for char in digits[: digits.rindex(separators[-1])] if char not in separators)
            + "."
            + digits[digits.rindex(separators[-1]) + 1 :]
        )
    elif separators == [","]:
        digits = digits.replace(",", "" if re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", digits) else ".")
    elif separators and separators[0] in "' ":
        digits = digits.replace(separators[0], "")
    digits = digits[:_DIGITS_READ]
    try:
        value = float(f"{digits}e{exponent or 0}") if exponent or "." in digits else int(digits)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _skeleton(text: str) -> _Skeleton:
    values: list[float | None] = []

    def mark(match: re.Match[str]) -> str:
        values.append(_value(match[0]))
        return N

    return _Skeleton(_NUMBER.sub(mark, text.replace(N, "").replace(V, "")), values)


def _merged(
    skeleton: _Skeleton, pattern: re.Pattern[str], merge: Callable[[list[float | None]], tuple[str, list[float | None]]]
) -> _Skeleton:
    """`skeleton` with each match of `pattern` replaced by what `merge` makes of the values in it."""
    parts: list[str] = []
    values: list[float | None] = []
    at = used = 0
    for match in pattern.finditer(skeleton.text):
        before = skeleton.text[at : match.start()]
        count, inside = before.count(N), match[0].count(N)
        values += skeleton.values[used : used + count]
        mark, kept = merge(skeleton.values[used + count : used + count + inside])
        values += kept
        parts += [before, mark]
        used, at = used + count + inside, match.end()
    return _Skeleton("".join(parts) + skeleton.text[at:], values + skeleton.values[used:])


_GRADED = "\ue002"  # behind an N: out of ten
_OF_SCALE = re.compile(
    rf"{N}\s?(?:/|\bout of\b|\bof\b(?=\s?{N}\s*(?:\Z|[.\n]))|\bvon\b|\bsur\b(?= {N})|\bauf\b)\s?{N}(?!\s?[/:-]\s?{N})",
    re.IGNORECASE,
)
_TO = r"\s?(?:-|–|—|~|〜|～|\.\.+|to|bis|à|al?|до|到|and|und|et|y|through|-to-)\s?"
_BOUND = rf"{N}(?:\s?\([^()\n]{{0,40}}\)|\s?=\s?[\w ]{{1,30}})?"
_RANGE = re.compile(
    rf"(?:\b(?:between|from|zwischen|von|de|del|entre|da|от|在|从)\s?)?{_BOUND}(?:{_TO}|"
    rf",\s?(?={N}\s?=)){_BOUND}(?:{_TO}{_BOUND})*(?:\s?[-\w]{{0,5}}\s?(?:scale|段階))?",
    re.IGNORECASE,
)
_PARTS = re.compile(rf"{N}(?:[:.,]{N})+|\.{N}")
_PERCENT = re.compile(rf"{N}\s?%")
_NO_RESULT = re.compile(
    rf"^[ \t]{{0,8}}(?:[-+>]\s)?{N}[.)](?=\s+\S)"
    rf"|\b(?:step|criterion|criteria|page|room|version|section|chapter|item|question|reason|part|line|no\.|"
    rf"point|figure|table|rule|turn|round|"
    rf"max\w*|min\w*|maximum of|minimum of|scale of|out of|of the|at least|at most|threshold is|threshold of|"
    rf"RFC|HTTP|PR|error|python|since|year|in|seite|schritt|第)\s?#?[\":\s]{{0,3}}{N}"
    rf"|#{N}|{N}(?:-|\s)?(?:point|段階|st\b|nd\b|rd\b|th\b)|{N}\s?=\s?(?=[A-Za-z])",
    re.IGNORECASE | re.MULTILINE,
)

_WORDS = (
    r"(?:(?<![A-Za-z_])(?:score|rating|grade|mark|verdict|result|evaluation|assessment|value|answer|estimate|"
    r"total|punctuation|judg(?:e)?ment|"
    r"bewertung|punktzahl|punkte|note|ergebnis|antwort|wertung|réponse|puntuación|respuesta|nota|punteggio|voto|"
    r"risposta|оценка|ответ)(?![A-Za-z])"
    r"|(?:endnote|endergebnis)|评分|分数|得分|答案|结果|結果|スコア|評価|点数|答え|점수|평가)"
)
_FINAL = (
    r"(?:(?<![A-Za-z_])(?:final|overall|total|consensus|combined|revised|corrected|correction|updated|new|"
    r"endgültige?|endergebnis|gesamt\w{0,12}|finale?|"
    r"korrektur|korrigierte?|définitive)(?![A-Za-z])|最终|最終)"
)
_DRAFT = (
    r"(?:(?<![A-Za-z])(?:initial|first|previous|earlier|old|draft|last|sub|max(?:imum)?|min(?:imum)?|passing|"
    r"average|threshold|erste|zuerst|première|"
    r"intermediate|zwischen)[\s_-]{0,2}|初步|最初の?|zwischen)"
)
_GROUP = r"(?:\s{0,3}[(\[{][^()\[\]{}\n]{0,80}[)\]}])?"
_IS = r"(?:[:=|]|=>|->|→|—|–|\b(?:is|are|was|of|as|ist|est|es|de|to|for)\b|是|は|为|為)"
_SEP = (
    rf"\s{{0,3}}{_IS}(?:\s{{0,3}}{_IS})?\s{{0,9}}(?:(?:an?|just|only|about|exactly|now|une?|eine?|"
    r"around|"
    rf"approximately|roughly|probably|therefore|clearly)\s)?[(\[{{<~≈=£€$¥]{{0,3}}"
)
_VALUE = rf"(?P<value>{N})(?P<unit>{_GRADED}|\s?%)?"
_NOTHING = (
    r"(?P<nothing>n\s?/\s?a\b|none\b|null\b|nil\b|nan\b|unknown\b|undefined\b|not\b|cannot\b|no \w|\?|"
    r"_{2,}|tbd\b|-\s*$|\s*\Z)"
)
_END = (
    rf"(?=\s*(?:\Z|[.,;:!?)\]}}>|—–→(~#★⭐{_GRADED}]|-\s|\n|=|/|"
    r"(?:points?|pts|stars?|marks?|punkten?|from|for|because|given|but|since|overall|seems|feels|is|on|as|with|"
    r"and|so|when|if)\b|分|点|점|です|。))"
)
_TAIL = rf"(?:{_VALUE}|{_NOTHING})"
_FILLER = rf"(?:[^\n:=.!?|{N}→]|\.(?=\w)){{0,40}}?"

_DRAFTS = re.compile(rf"{_DRAFT}[\w\s]{{0,9}}?{_WORDS}{_GROUP}{_FILLER}{_SEP}{N}", re.IGNORECASE)
# A label has a sign or a word of equality before its number, or the number follows at once and ends there.
_GIVEN = rf"(?:{_GROUP}{_FILLER}{_SEP}|{_GROUP}\s{{0,3}}\n\s{{0,3}}(?={N}{_END})|\s(?={N}{_END})){_TAIL}"
_FINALS = re.compile(rf"{_FINAL}(?:[ \t]{{1,3}}\w{{1,20}})?\s?{_WORDS}?{_GIVEN}", re.IGNORECASE)
_LABELS = re.compile(rf"{_WORDS}{_GIVEN}", re.IGNORECASE)
_CORRECTIONS = re.compile(
    rf"(?:\bmake (?:that|it)|\b(?:actually|rather)|\b(?:revised|changed?|corrected|lowered|raised) (?:it )?to|"
    rf"\bno,|\bi mean|→|->)\s{{1,3}}(?:an?\s)?{_VALUE}{_END}",
    re.IGNORECASE,
)
_OWN_LINE = re.compile(rf"\A[^\w{N}]{{0,12}}{_VALUE}\s?(?:points?|分|点|점)?[^\w{N}]{{0,12}}\Z", re.IGNORECASE)
_FIRST = re.compile(
    rf"\A[^\w{N}]{{0,12}}{_VALUE}\s?(?=\.\.\.|[(\[,;:—–→!?{_GRADED}]|-\s|(?:because|since|as|out|points?)\b)"
)
_LAST = re.compile(rf"[:)=>→]\s{{0,3}}{_VALUE}[^\w{N}]{{0,12}}\Z")
_PHRASES = re.compile(
    r"\b(?:gives?|gave|award|assign|deserves?|earns?|receives?|gets?|got|go with|say|it|this|that|them|him|her|"
    r"mine is|my pick is|(?:this|it|that)(?: is|'s)|thing|whole|all|stands at|"
    rf"rated?|scored?|donne|gebe|{V}|,)\s(?:as\s)?(?:an?\s|ihm\s|il\s)?(?:solid\s|strong\s|weak\s|"
    rf"clear\s)?{_VALUE}{_END}"
    rf"|(?P<graded>{N}){_GRADED}",
    re.IGNORECASE,
)
_EQUATION = re.compile(rf"(?:=|≈|\bequals|\bis|\bapproximately|\babout)\s?{_VALUE}", re.IGNORECASE)

_REFUSALS = re.compile(
    r"\b(?:can(?:no|')t|can not|could not|couldn't|unable to|not able to|won't|will not|refuse to|decline to|"
    r"impossible to|don't know|do not know|not enough|insufficient|"
    r"no (?:numeric |single |exact )?(?:answer|value|result|number|data|score)|as an ai|n/a|error|"
    r"kann .{0,30}nicht|ne (?:peux|puis))\b|无法|できません|ません",
    re.IGNORECASE,
)


def _read(text: str, *, is_score: bool) -> _Skeleton:
    skeleton = _skeleton(text)

    def of_scale(values: list[float | None]) -> tuple[str, list[float | None]]:
        is_ten = values[1] == 10
        return N + _GRADED, [values[0] if is_ten or not is_score else None]

    def percentage(values: list[float | None]) -> tuple[str, list[float | None]]:
        return N, [None] if is_score else values

    skeleton = _merged(skeleton, _PARTS, lambda values: (V, []))
    skeleton = _merged(skeleton, _RANGE, lambda values: (V, []) if is_score or len(values) > 2 else (N, values[:1]))
    skeleton = _merged(skeleton, _OF_SCALE, of_scale)
    skeleton = _merged(skeleton, _PERCENT, percentage)
    return _merged(skeleton, _DRAFTS, lambda values: (V, []))


class _Evidence(NamedTuple):
    is_any: bool
    value: float | None = None


def _last(skeleton: _Skeleton, *patterns: re.Pattern[str]) -> _Evidence:
    """The last match of any of `patterns`. A match of `nothing` is evidence of no result."""
    matches = [match for pattern in patterns for match in pattern.finditer(skeleton.text)]
    if not matches:
        return _Evidence(is_any=False)
    last = max(matches, key=lambda match: match.end())
    groups = last.groupdict()
    name = next((name for name in ("value", "graded") if groups.get(name)), None)
    return _Evidence(True, None if name is None else skeleton.value_at(last.start(name)))


def _edges(skeleton: _Skeleton) -> _Evidence:
    """A number that is alone on the first or the last line, or that the text begins or ends with."""
    lines = [line for line in skeleton.text.split("\n") if line.strip()]
    values: list[float | None] = []
    offset = 0
    for index, line in enumerate(lines):
        is_first, is_last = index == 0, index == len(lines) - 1
        match = _OWN_LINE.search(line) if is_first or is_last else None
        match = match or (_FIRST.search(line) if is_first else None)
        match = match or (_LAST.search(line) if is_last else None)
        if match:
            values.append(skeleton.values[offset + line.count(N, 0, match.start("value"))])
        offset += line.count(N)
    if not values:
        return _Evidence(is_any=False)
    return _Evidence(True, values[0] if len(set(values)) == 1 else None)


def _evidence(skeleton: _Skeleton, ranks: Iterable[Callable[[_Skeleton], _Evidence]]) -> _Evidence:
    return next((evidence for rank in ranks if (evidence := rank(skeleton)).is_any), _Evidence(is_any=False))


_RANKS: tuple[Callable[[_Skeleton], _Evidence], ...] = (
    lambda skeleton: _last(skeleton, _FINALS),
    lambda skeleton: _last(skeleton, _LABELS, _CORRECTIONS),
    _edges,
    lambda skeleton: _last(skeleton, _PHRASES),
)


def parse_score(text: str) -> int | None:
    """The score of an answer on the scale of 1 to 10: its whole part. None where no place of the text is a score's."""
    value = _evidence(_read(plain(text), is_score=True), _RANKS).value
    if value is None or value < 0 or value > 10 or 0 < value < 1:
        return None
    return max(1, int(value))


def parse_number(text: str) -> float | None:
    """The number that an answer gives, an int where it has no fraction. None where none or several could be meant."""
    clean = plain(text)
    skeleton = _read(clean, is_score=False)
    evidence = _evidence(skeleton, _RANKS)
    if evidence.is_any:
        return evidence.value
    if _REFUSALS.search(clean):
        return None
    equation = _last(skeleton, _EQUATION)
    if equation.is_any:
        return equation.value
    rest = set(_merged(skeleton, _NO_RESULT, lambda values: (V, [])).values)
    return rest.pop() if len(rest) == 1 else None
