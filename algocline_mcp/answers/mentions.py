"""Mentions of candidates in an answer: whole words, inflections, and misspelt words where there is nothing else."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from algocline_mcp.answers.phrases import NEGATION

MENTIONS_MAX = 500
"""An answer with more mentions than this gives no verdict."""

_INFLECTED_CHARS = 4  # from this length on an inflection of a candidate counts
# Scripts without blanks: a word may stand directly beside another one.
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")

# Behind an "A" or "I" that is no candidate; "A or B" are two.
_ARTICLE = re.compile(r"\s(?!(?:or|and|nor|vs\.?)\s[A-Z]\b)(?!(?:is|was)\s(?:the\s)?(?:correct|right)\b)[a-z]|\s?&")


class Mention(NamedTuple):
    start: int
    end: int
    candidate: int
    """Its index."""
    is_exact: bool
    """Not an inflection."""


def mentions_of(text: str, candidates: Sequence[str]) -> list[Mention]:
    """Each whole word that is one of `candidates` (in small letters), of several at one place the longest.

    Empty where there are more than MENTIONS_MAX.
    """
    by_form: dict[str, tuple[int, bool]] = {}
    for index, candidate in enumerate(candidates):
        for form in _inflections(candidate):
            by_form.setdefault(form, (index, False))
    by_form.update({candidate: (index, True) for index, candidate in reversed([*enumerate(candidates)]) if candidate})
    if not by_form:
        return []
    lowered = text.lower()
    if len(lowered) != len(text):  # a few capitals have two small letters: the offsets would differ
        text = lowered
    mentions: list[Mention] = []
    forms = "|".join(re.escape(form) for form in sorted(by_form, key=lambda form: (-len(form), form)))
    for match in re.finditer(forms, lowered):
        if _is_whole(text, match.start(), match.end()) and _is_meant(text, match.start(), match.end()):
            mentions.append(Mention(match.start(), match.end(), *by_form[match[0]]))
            if len(mentions) > MENTIONS_MAX:
                return []
    return mentions


def _inflections(candidate: str) -> list[str]:
    if len(candidate) < _INFLECTED_CHARS or not re.fullmatch(r"[a-z]+", candidate):
        return []
    stem = candidate.removesuffix("e")
    return [candidate + "s", candidate + "es", candidate + "d", stem + "ed", stem + "ing"]


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether no letter, digit or sign of a longer name (C++, C#, off-topic) joins the word."""
    before, after, following = text[max(0, start - 1) : start], text[end : end + 1], text[end + 1 : end + 2]
    if _joins(before, text[start]) or _joins(after, text[end - 1]) or after in ("+", "#"):
        return False
    if after in ("-", "'") and following.isalpha():
        return False
    return not (before in ("-", "'") and start > 1 and text[start - 2].isalpha())


def _joins(neighbour: str, edge: str) -> bool:
    if not neighbour or not edge.isalnum() or _CJK.match(neighbour) or _CJK.match(edge):
        return False
    return neighbour.isalnum() or neighbour == "_"


def _is_meant(text: str, start: int, end: int) -> bool:
    """A single letter is a candidate as a capital or alone; the article "A" and the pronoun "I" are none."""
    letter = text[start:end]
    if len(letter) > 1 or not letter.isalpha() or _CJK.match(letter):
        return True
    before, after = text[:start].rpartition("\n")[2], text[end:].partition("\n")[0]
    if letter.islower():
        return not before.strip(" ([.") and not after.strip(" )].,:")
    return not (letter in "AI" and _ARTICLE.match(after))


# Misspelt candidates -----------------------------------------------------------------------------------------

_TRIMMED = "".join(chr(code) for code in range(33, 127) if not chr(code).isalnum())
_TOKEN_CHARS = 64  # a longer word is not a misspelt candidate
_MISSPELT_CHARS = 4  # nor is a candidate with fewer characters ever misspelt for sure
_SHORT_WORDS = 3  # in a longer text only a word behind a colon may be a misspelt candidate
_PLACES_MAX = 64
_MARGIN = 0.05  # a misspelt word is so much more similar to its candidate than to each other one


def misspelt(text: str, candidates: Sequence[str], threshold: float) -> int | None:
    """The index of the candidate that a short answer, or a word behind a colon, resembles most. In small letters."""
    tokens = text.split()
    places = [number + 1 for number, token in enumerate(tokens[:-1]) if token.endswith(":")][-_PLACES_MAX:]
    if len(tokens) <= _SHORT_WORDS:
        places = [*range(len(tokens))]
    similar: list[tuple[float, int]] = []
    for number in places:
        token = tokens[number].strip(_TRIMMED)
        if 0 < len(token) <= _TOKEN_CHARS and not NEGATION.search(" ".join(tokens[max(0, number - 4) : number])):
            similar += [
                (jaro_winkler(token, candidate), index)
                for index, candidate in enumerate(candidates)
                # "unsafe" is not a misspelt "safe", "window" not a misspelt "win", "closed" not a misspelt "lose"
                if len(candidate) >= _MISSPELT_CHARS and candidate not in token and token[0] == candidate[0]
            ]
    similar = sorted((pair for pair in similar if pair[0] >= threshold), reverse=True)
    if not similar or any(index != similar[0][1] and near > similar[0][0] - _MARGIN for near, index in similar):
        return None
    return similar[0][1]


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
