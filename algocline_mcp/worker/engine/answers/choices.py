# ruff: noqa: E501 - tables of patterns
"""Choices and yes or no in answers."""

import re
from collections.abc import Callable

from algocline_mcp.worker.engine.answers.thinking import plain

_TRUE = (
    "approved?",
    "yes",
    "ok",
    "okay",
    "accept(?:ed)?",
    "pass(?:es|ed)?",
    "confirm(?:ed)?",
    "agreed?",
    "true",
    "lgtm",
)
_FALSE = ("reject(?:ed)?", "no", "den(?:y|ied)", "block(?:ed)?", "fails?", "refused?", "disagreed?", "false")
_LABEL = (
    r"(?:answer|verdict|decision|result|choice|conclusion|grade|label|category|severity|classification|rating|status|"
    r"judge?ment|option|antwort|urteil|entscheidung|ergebnis|respuesta|veredicto|r[eé]ponse|答案|答え|结论|判定|ответ|вердикт)"
    r"\"?[*_`]{0,4}\s{0,3}(?:[:=]|is\b:?|was\b|は|是)"
)
_OPEN = r"(?:[\s*_`~\"'$(\[{<「『]|\\text\{|the |option ){0,8}"
_MARKED = re.compile(rf"(?:{_LABEL}|\\boxed\{{|<(?:answer|verdict|choice|decision)>|\[\[){_OPEN}$", re.IGNORECASE)
_MARK_CHARS = 60  # a mark stands this close before what it marks
_NEGATED = re.compile(
    r"(?:\b(?:not|no|never|cannot|nor|neither|without|nothing(?: is)?|none|hardly|nicht|kein\w?|ne|pas|non|wouldn't|far from|would be|"
    r"could be|might be|if|unless|no one|nobody|lacks?|fails? to|refuse to|unable to|whether|instead of|rather than)|n't)\b[^.!?\n:;,]{0,30}$|"
    r"(?:\b|_)(?:not|non|un|in)[-_ ]$|[不未非]$|не $",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"\b(?:wait|actually|correction|corrected|on reflection|on second thoughts?|i meant|make that|scratch that|final(?:ly)?|"
    r"initially|at first|first|after (?:review|a closer look)|but now|now|revised?|instead|changed my mind|rather)\b",
    re.IGNORECASE,
)
# The signs that what precedes them is withdrawn, marked or not.
_CHANGED = re.compile(
    r"\b(?:wait|actually|correction|korrektur|on reflection|on second thoughts?|i mean(?:t)?|make that|scratch that|changed my mind)"
    r"\b|->|→",
    re.IGNORECASE,
)
_PREFIXES = ("in", "un", "dis", "ir", "im", "il", "non", "mis", "not", "anti", "de")
_TRIMMED = "".join(chr(code) for code in range(33, 127) if not chr(code).isalnum()) + "「」『』。、!?:()“”‘’"
_TOKEN_CHARS = 64  # a longer word is not a misspelt candidate
_TOKENS = 2000  # more distinct words are prose, in which nothing is misspelt


def _pattern(candidate: str) -> str:
    """A candidate as a word of its own, with English endings where it is a word of three letters or more."""
    body = re.escape(candidate)
    if candidate.isascii() and candidate.isalpha() and len(candidate) > 2:
        body += "(?:e?d|e?s)?"
    if not candidate.isascii() and any(ord(c) > 0x2E7F for c in candidate):
        return body  # a script without blanks
    left = r"(?<![\w])(?<![\w][-'])" if candidate[:1].isalnum() or candidate[:1] == "_" else ""
    # Not \w: a candidate may stand beside a script without blanks. "C" is none in "C++", "C#" or "C's".
    right = r"(?![A-Za-z0-9_\u00c0-\u052f])(?![+#])(?!['-][A-Za-z])" if candidate[-1:].isalnum() else r"(?![+#\w])"
    return left.replace(r"\w", r"A-Za-z0-9_\u00c0-\u052f") + body + right


Mention = tuple[int, int, int]  # its candidate, start and end


def _decided(text: str, mentions: list[Mention], is_letter: Callable[[int], bool]) -> int | None:
    for correction in reversed([match.end() for match in _CHANGED.finditer(text)][-8:]):
        later = [m for m in mentions if m[1] >= correction and _is_counted(text, m, is_letter)]
        if later:
            return later[-1][0] if len({m[0] for m in later}) == 1 else None
    marked = [m for m in mentions if _MARKED.search(text[max(0, m[1] - _MARK_CHARS) : m[1]])]
    if marked:
        return marked[-1][0]
    alone = [m for m in mentions if _is_alone(text, m)]
    if alone:
        return alone[-1][0]
    if (
        mentions
        and not re.search(r"\w", text[: mentions[0][1]][-40:])
        and not text[: mentions[0][1]].strip("\"'*_`#>([{「✅❌ \n\t-—")
    ):
        first = mentions[0]
        if (
            re.match(r"[*_`\"')\]}」]{0,6}\s?(?:[.,;:!()\n–—-]|because|since|as\b|は|$)", text[first[2] :])
            or (
                len({m[0] for m in mentions}) == 1
                and not is_letter(first[0])
                and text[first[1] : first[2]].lower() not in ("no",)
            )
        ) and not _overruled(text, first, mentions):
            return first[0]
    counted = [m for m in mentions if _is_counted(text, m, is_letter)]
    corrections = [match.end() for match in _CORRECTION.finditer(text)]
    for at in (corrections[-1], 0) if corrections else (0,):
        values = {m[0] for m in counted if m[1] >= at}
        if values:
            return values.pop() if len(values) == 1 else None
    return None


def _overruled(text: str, first: Mention, mentions: list[Mention]) -> bool:
    """Whether a correction follows, with another value."""
    for match in _CORRECTION.finditer(text, first[2]):
        return any(m[0] != first[0] and m[1] >= match.end() for m in mentions)
    return False


def _is_alone(text: str, mention: Mention) -> bool:
    _, start, end = mention
    begin, stop = text.rfind("\n", max(0, start - 40), start) + 1, text.find("\n", end, end + 40)
    if begin == 0 and start > 40:
        return False
    if stop < 0:
        if len(text) - end > 40:
            return False
        stop = len(text)
    rest = text[begin:start] + text[end:stop]
    return not any(character.isalnum() or character == "?" for character in rest)


def _is_counted(text: str, mention: Mention, is_letter: Callable[[int], bool]) -> bool:
    index, start, end = mention
    before = text[max(0, start - _MARK_CHARS) : start]
    said = text[start:end]
    if is_letter(index) and (said.islower() or (said in ("A", "I") and re.match(r"\s+[a-z]", text[end:]))):
        return False  # an article or a pronoun
    if said.lower() == "no" and re.match(r"\s+\w", text[end:]):
        return False  # a determiner
    return not _NEGATED.search(before) and not re.match(r"[^.!\n]{0,30}\?", text[end:])


def match_bool(text: str) -> bool | None:
    """True or False where the answer says yes or no; None where it says neither, both, or only what it is not."""
    text = plain(text)
    mentions = [(int(m.lastgroup == "true"), m.start(), m.end()) for m in _BOOL.finditer(text)]
    if re.match(r"[\s*_`\"]{0,8}yes and no\b", text, re.IGNORECASE):
        return None
    verdict = _decided(text, mentions, lambda _: False)
    return None if verdict is None else bool(verdict)


_BOUND = r"(?<![A-Za-z0-9_'\u00c0-\u052f])(?<![A-Za-z0-9]-)"
_END = r"(?![A-Za-z0-9_\u00c0-\u052f]|-[A-Za-z])"
_BOOL = re.compile(rf"{_BOUND}(?:(?P<true>{'|'.join(_TRUE)})|(?P<false>{'|'.join(_FALSE)})){_END}", re.IGNORECASE)


def match_enum(text: str, candidates: list[str], threshold: float) -> int | None:
    """The index of the candidate that the answer chooses; without any, the one most similar to a word."""
    text = plain(text)
    order = sorted((i for i, c in enumerate(candidates) if c), key=lambda i: -len(candidates[i]))
    if not order:
        return None
    found = re.compile("|".join(f"({_pattern(plain(candidates[i]))})" for i in order), re.IGNORECASE)
    mentions = [(order[(m.lastindex or 1) - 1], m.start(), m.end()) for m in found.finditer(text)]
    if mentions:
        return _decided(text, mentions, lambda index: len(candidates[index]) == 1 and candidates[index].isascii())
    return _most_similar(text.lower(), [plain(candidate).lower() for candidate in candidates], threshold)


def _most_similar(text: str, wanted: list[str], threshold: float) -> int | None:
    best, best_similarity = None, threshold
    tokens = dict.fromkeys(word.strip(_TRIMMED) for word in text.split())
    if len(tokens) > _TOKENS:
        return None
    for token in tokens:
        if len(token) < 3 or len(token) > _TOKEN_CHARS:
            continue
        for index, candidate in enumerate(wanted):
            if len(candidate) < 3 or len(candidate) > _TOKEN_CHARS or _is_another(token, candidate):
                continue
            similarity = jaro_winkler(token, candidate)
            if similarity > best_similarity or (best is None and similarity == threshold):
                best, best_similarity = index, similarity
    return best


def _is_another(token: str, candidate: str) -> bool:
    """Whether a word is no misspelling: it is longer by its own stem, begins otherwise, or means the opposite."""
    if token[0] != candidate[0] or candidate in token or abs(len(token) - len(candidate)) > 2:
        return True
    return any(token.startswith(p) and token[len(p) :].lstrip("-_")[:3] == candidate[:3] for p in _PREFIXES)


def jaro_winkler(a: str, b: str) -> float:
    """Jaro-Winkler similarity from 0 to 1 (Winkler 1990): Jaro's, raised by up to four equal first characters."""
    reach = max(len(a), len(b)) // 2 - 1
    is_matched = [False] * len(b)
    matches_a = []
    for i, character in enumerate(a):
        for j in range(max(0, i - reach), min(len(b), i + reach + 1)):
            if not is_matched[j] and b[j] == character:
                is_matched[j] = True
                matches_a.append(character)
                break
    if not matches_a:
        return 1.0 if a == b else 0.0
    matches_b = [character for character, matched in zip(b, is_matched, strict=True) if matched]
    transposed = sum(x != y for x, y in zip(matches_a, matches_b, strict=True)) / 2
    count = len(matches_a)
    jaro = (count / len(a) + count / len(b) + (count - transposed) / count) / 3
    prefix = 0
    while prefix < min(4, len(a), len(b)) and a[prefix] == b[prefix]:
        prefix += 1
    return jaro + prefix * 0.1 * (1 - jaro)
