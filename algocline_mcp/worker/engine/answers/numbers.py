# ruff: noqa: E501 - tables of patterns
"""Numbers and scores in answers. What is no verdict is blanked first; then the strongest evidence decides."""

import re

from algocline_mcp.worker.engine.answers.thinking import plain

_DIGITS_READ = 300  # Python refuses to parse thousands of digits, and a float holds no more than this
_NUMBER = (
    r"(?<![\w.,])[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])(?:\.[0-9]++)?"
    r"|[0-9]++(?:_[0-9]++)*+(?:\.[0-9]++(?:_[0-9]++)*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?(?![\w]|\.[0-9])"
)
_FIND = re.compile(_NUMBER)
_DECORATION = r"[\s*_`~\"'$(\[{<|]{0,8}"

# Each kind of number that is no verdict, as a pattern whose match is blanked.
_NO_VERDICT = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<![\w./])(?:[01]|-1)(?:\s?\([^()\n]{0,30}\))?\s{0,2}(?:-|–|—|to|bis|à|a|~|至|到|から|/)\s{0,2}(?:3|4|5|7|10|20|100)\b"
        r"(?:\s?\([^()\n]{0,30}\))?(?:[- ]point)?(?:\s?scale)?",  # a scale
        r"(?<![\w./])[0-9]{1,3}\s?(?:=|means\b|is the (?:best|worst|highest|lowest|max))\s?[^\W\d]{2}[^,;)\n]{0,30}",  # a legend
        r"\b(?:where|with) [0-9]{1,3} (?:is|being|means) [a-z]",
        r"(?<![0-9] )(?<![0-9])\b(?:out of|of|max(?:imum)?(?: of)?\"?:?|von|sur|de|/) ?(?:10|100|5|20)\b(?! ?[/.][0-9])(?: points?)?",
        r"^[ \t>]{0,6}(?:#{1,6} )?\(?[0-9]{1,2}[.)](?=\s+\S)(?!\s*$)",  # a list number
        r"\b(?:step|criterion|section|chapter|page|line|figure|table|item|point|part|question|version|option|round|test|"
        r"case|no\.|attempt|draft|schritt|seite|error|code|python|java|issue|pr|rule)\s?#?[0-9]+(?:\.[0-9]+)*:?",
        r"#[0-9]+|\[[0-9]{1,3}\](?=\s*[A-Za-z,.\[])",  # a reference
        r"\b[^\W\d_]+-[0-9]+(?:\.[0-9]+)*\w{0,3}\b|\bv[0-9]+(?:\.[0-9]+)*\b|\b[0-9]+\.[0-9]+\.[0-9]+(?:\.[0-9]+)*\b",
        r"\b[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?\b|\b[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?\b",  # dates, times
        r"\b(?:in|since|of|from|by|the|until)\s(?:19|20)[0-9]{2}\b",
        r"\bnot an? [0-9]+\b",
    )
]
_COUNT = re.compile(
    r"(?<![\w./])[0-9]+ (?:(?:of|out of) (?:the )?[0-9]+ )?(?!out\b|points?\b|stars?\b|or\b|and\b|because|but|since|as\b|for\b|from\b|in\b|is\b|to\b|on\b|with\b|overall|at\b)[a-z]{3,}",
    re.IGNORECASE,
)
_CONFIDENCE = re.compile(
    r"\b(?:confidence|confident|weight|certainty)\b[^0-9\n]{0,12}[0-9.]+ ?%?|[0-9.]+ ?% (?:confiden\w+|sure|certain)",
    re.IGNORECASE,
)
_LABEL = (
    r"score|rating|grade|marks?|points|verdict|bewertung|punktzahl|gesamtnote|note|puntuaci[oó]n|nota|calificaci[oó]n|"
    r"punteggio|voto|评分|得分|分数|評分|スコア|評価|点数|оценка|평점|점수"
)
_ANSWER = r"answer|result|total|final|value|antwort|ergebnis|respuesta|r[eé]ponse|答案|答え|结果|ответ"
_LINK = rf"\"?(?:\s?\([^()\n]{{0,40}}\))?[*_`\"']{{0,4}}\s{{0,3}}(?:[:=：|→]|->|is\b|of\b|was\b|would be\b|to\b|は|是|为|為)?{_DECORATION}"
_NUMBER_GROUP = rf"({_NUMBER})(?:\s?(%)|\s?(?:/|out of\b|of\b|von\b|sur\b)\s?([0-9]+))?"
_FREE = _NUMBER_GROUP.replace(r"(?<![\w.,])", "(?<![0-9.,])", 1)
_SCORE_LABELLED = re.compile(rf"(?:{_LABEL})(?![a-z]){_LINK}{_FREE}", re.IGNORECASE)
_MARKED = re.compile(rf"(?:\\boxed\{{(?:\\text\{{)?|<(?:answer|score|rating)>|\[\[){_DECORATION}{_FREE}", re.IGNORECASE)
_ANSWERED = re.compile(rf"(?:{_ANSWER})(?![a-z]){_LINK}{_FREE}", re.IGNORECASE)
_FRACTION = re.compile(rf"({_NUMBER})(?:\s?(%)|\s?(?:/|out of|von|sur) ?([0-9]+)| (?:points?|stars?)\b)", re.IGNORECASE)
_GIVEN = re.compile(
    rf"\b(?:rate|give|rated|gave|award|assign|earns?|deserves?|gets?|receives?|say|merits?|call)\b(?: \w+){{0,4}}? ?{_DECORATION}{_FREE}",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"\b(?:wait|actually|correction|corrected|revised?|on reflection|on second thoughts?|i meant|make that|rather|"
    r"scratch that|final(?:ly)?|instead|endgültig\w*|finale|now i)\b|→|->|最终|最終",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:can ?not|can't|won't|unable to|not able to|could not|couldn't|don't|do not|refuse to|nicht|ne peux pas|no puedo|"
    r"error|sorry|as an ai|unfortunately)\b|无法|できません|抱歉|не могу",
    re.IGNORECASE,
)
_WORDS = {
    w: n for n, w in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
}


def _value(text: str) -> float:
    digits = text.replace(",", "").replace("_", "")
    if re.fullmatch(r"[+-]?[0-9]+", digits):
        return int(digits[:_DIGITS_READ])
    value = float(digits)
    return int(value) if value.is_integer() and abs(value) < 2**53 and "." not in digits else value


def _blanked(text: str) -> str:
    for pattern in _NO_VERDICT:
        text = pattern.sub(lambda match: " " * len(match[0]), text)
    return text


def _lone(text: str) -> float | None:
    """The number that is the whole answer."""
    bare = text.strip(" \t\r\n*_`~\"'$()[]{}<>|!.。" if not text.strip().startswith(".") else " \t\r\n*_`")
    return _value(bare) if _FIND.fullmatch(bare) else None


def parse_number(text: str) -> float | None:
    """The number that the answer marks, else the first that is no list number, version or name. None where there is none."""
    text = plain(text)
    lone = _lone(text)
    if lone is not None:
        return lone
    for pattern in (_MARKED, _ANSWERED):
        marked = pattern.findall(text)
        if marked:
            return _value(marked[-1][0])
    match = _FIND.search(re.sub(r"(?<=[A-Za-z])-(?=[0-9])|[$€£¥]|(?<=[0-9])[°%]", " ", _blanked(text)))
    if match is None or re.match(r"\s?[×x*] ?10\b|[ '][0-9]{3}\b|,[0-9]", text[match.end() :]):
        return None
    return _value(match[0])


def _score(number: str, percent: str, scale: str) -> int | None:
    value = _value(number)
    top = 100 if percent else int(scale[:_DIGITS_READ]) if scale else 10
    if top != 10:
        value = value * 10 / top if top else 0
    elif "." in number and 0 < value < 1 and not scale:
        return None  # of another scale: 0.8 may be 8 of 10 or less than 1
    return max(1, min(10, int(value)))


def parse_score(text: str) -> int | None:
    """The score from 1 to 10 that the answer gives. None where no number is the verdict, or several might be."""
    text = plain(text)
    lone = _lone(text)
    if lone is not None:
        return _score(text.strip(" \t\r\n*_`~\"'$()[]{}<>|!"), "", "")
    text = _CONFIDENCE.sub(" ", _blanked(text))
    for pattern in (_MARKED, _SCORE_LABELLED):
        marked = pattern.findall(text)
        if marked:
            return _score(*marked[-1])
    if _REFUSAL.search(text):
        return None
    corrections = [match.end() for match in _CORRECTION.finditer(text)]
    for part in (text[corrections[-1] :], text) if corrections else (text,):
        for pattern in (_ANSWERED, _FRACTION, _GIVEN):
            marked = pattern.findall(part)
            if marked:
                return _score(*marked[-1])
        numbers = {match[0] for match in _FIND.finditer(_COUNT.sub(" ", part))}
        if len(numbers) == 1:
            return _score(numbers.pop(), "", "")
    first = re.match(rf"[\s*_`]{{0,8}}({_NUMBER})[\s*_`]{{0,4}}(?:[.,;:(\n-]|$)", text)
    if first:
        return _score(first[1], "", "")
    named = {word for word in re.findall(r"[a-z]+", text.lower()[:200]) if word in _WORDS}
    return _WORDS[named.pop()] or 1 if len(named) == 1 and len(text) < 40 and not _FIND.search(text) else None
