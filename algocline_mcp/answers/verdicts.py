"""Verdicts in answers: yes or no, or one of several candidates.

The theory. A mention of a candidate is a whole word of the text, of several at one place the longest: "unsafe" mentions
no "safe". A mention is void where the text does not give it as the verdict: in a question, between alternatives
("PASS or BLOCKED"), under a condition ("would be PASS with tests"), in a draft ("first I said no"), as the key of a
value ("ok: false"). It is negated by a word before it in its clause ("not", "nothing is", "rather than").
Of the mentions that are left the highest rank decides, and within it the last, for a correction follows its draft:
  4  a final result       "final verdict: no", "\\boxed{B}"
  3  a label              "verdict: PASS", "the answer is B", "B is correct"
  2  a clause of its own  "Yes. The old code …", "severity: medium", "**B**", "after some thought: no"
  1  anything else, if all such mentions agree
What stands before a retraction ("wait", "correction") is a draft. For yes and no, rank 1 needs a verb of the first
person or the end of the text: prose says "no", "ok" and "pass" of many things.

In doubt the result is None, because only then is the question asked again.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from algocline_mcp.answers import phrases
from algocline_mcp.answers.mentions import Mention, mentions_of, misspelt
from algocline_mcp.answers.text import plain

_WINDOW_CHARS = 80  # so far before and behind a mention is looked for what says what it is
_SENTENCE_WORDS = 5  # so short is the last sentence of a text in which a word of rank 1 says yes or no
_FINAL, _LABELLED, _CLAUSE, _PROSE = 4, 3, 2, 1


def match_bool(text: str) -> bool | None:
    """True for a yes (approved, pass, ok, …), False for a no (rejected, fail, …). None in doubt."""
    clean = plain(text)
    mentions = mentions_of(clean, [*phrases.YES, *phrases.NO])
    sides = [mention._replace(candidate=int(mention.candidate < len(phrases.YES))) for mention in mentions]
    index = _verdict(clean, sides, is_strict=True)
    return None if index is None else bool(index)


def match_enum(text: str, candidates: list[str], threshold: float) -> int | None:
    """The index of the candidate that the answer gives. None in doubt.

    `threshold`: the similarity (Jaro-Winkler, 0 to 1) from which a misspelt word counts, if no candidate is mentioned.
    """
    clean = plain(text)
    wanted = [plain(candidate).strip().lower() for candidate in candidates]
    mentions = mentions_of(clean, wanted)
    return _verdict(clean, mentions, is_strict=False) if mentions else misspelt(clean.lower(), wanted, threshold)


class _Ranked(NamedTuple):
    rank: int
    mention: Mention


def _verdict(text: str, mentions: Sequence[Mention], *, is_strict: bool) -> int | None:
    void = _void(text, mentions)
    live = [mention for number, mention in enumerate(mentions) if number not in void]
    start = _end_of_retraction(text, mentions, live)
    given = [mention for mention in live if mention.start >= start]
    denied = {mention for mention in given if _is_negated(text, mention)}
    negated = {mention.candidate for mention in denied}
    ranked = [
        _Ranked(rank, mention)
        for mention in given
        if mention not in denied and (rank := _rank(text, mention, is_strict=is_strict))
    ]
    if not ranked:
        return None
    top = max(ranked).rank
    best = [mention for rank, mention in ranked if rank == top]
    if _is_withdrawn(text, best[-1].end, is_labelled=top >= _LABELLED):
        return None
    indexes = {mention.candidate for mention in best}
    if top == _PROSE and (len(indexes) > 1 or indexes & negated):
        return None
    return _of_clauses(text, best) if top == _CLAUSE and len(indexes) > 1 else best[-1].candidate


def _void(text: str, mentions: Sequence[Mention]) -> set[int]:
    """The numbers of mentions in a question, between alternatives, before a value or an arrow."""
    void: set[int] = set()
    for number, mention in enumerate(mentions):
        end = phrases.SENTENCE_BREAK.search(text, mention.end, mention.end + 2 * _WINDOW_CHARS)
        if end and end[0] == "?":
            void.add(number)
        if number + 1 == len(mentions):
            break
        between = text[mention.end : mentions[number + 1].start]
        if phrases.ALTERNATIVE.fullmatch(between):
            void |= {number, number + 1}
            if number and phrases.LISTED.fullmatch(text[mentions[number - 1].end : mention.start]):
                void.add(number - 1)
        elif phrases.ARROW.fullmatch(between) or phrases.KEY.match(text, mention.end):
            void.add(number)
    return void


def _end_of_retraction(text: str, mentions: Sequence[Mention], live: Sequence[Mention]) -> int:
    """The end of the last retraction between two mentions, or of a withdrawal behind the last mention; else 0."""
    end = 0
    for match in phrases.RETRACTION.finditer(text) if mentions else ():
        at = match.start("word")
        has_mention_behind = bool(live) and live[-1].start >= at
        if mentions[0].start < at and (has_mention_behind or phrases.WITHDRAWAL.match(text, at)):
            end = at if text[at : at + 2].lower() == "no" else match.end("word")
    return end


def _is_withdrawn(text: str, end: int, *, is_labelled: bool) -> bool:
    is_withdrawn = bool(phrases.WITHDRAWAL.search(text, end))
    return is_withdrawn and (not is_labelled or bool(phrases.RETRACTION.search(text, end)))


def _of_clauses(text: str, clauses: Sequence[Mention]) -> int:
    """Of clauses that disagree the one that begins the text, unless the last one has a line of its own."""
    first, last = clauses[0], clauses[-1]
    line = text[: last.start].rpartition("\n")[2] + text[last.end :].partition("\n")[0]
    is_first_of_text = not re.search(r"\w", text[: first.start])
    return first.candidate if is_first_of_text and re.search(r"\w", line) else last.candidate


def _is_negated(text: str, mention: Mention) -> bool:
    clause = phrases.CLAUSE_BREAK.split(text[max(0, mention.start - _WINDOW_CHARS) : mention.start])[-1]
    return bool(phrases.NEGATION.search(clause) or phrases.NEGATION_AFTER.match(text, mention.end))


def _rank(text: str, mention: Mention, *, is_strict: bool) -> int:
    """The rank of a mention, 0 where it is a draft or stands under a condition."""
    before = text[max(0, mention.start - _WINDOW_CHARS) : mention.start]
    after = text[mention.end : mention.end + _WINDOW_CHARS]
    if label := phrases.LABELLED.search(before):
        clause = phrases.CLAUSE_BREAK.split(before[: label.start()])[-1] + label[0]
        if phrases.FINAL.search(clause):
            return _FINAL
        return 0 if phrases.DRAFT.search(clause) else _LABELLED
    clause = phrases.CLAUSE_BREAK.split(before.rstrip(" :"))[-1]
    if phrases.DRAFT.search(clause) or phrases.DRAFT_AFTER.match(after) or phrases.CONDITION.search(clause):
        return 0
    if not is_strict and phrases.CONFIRMED.match(after):
        return _LABELLED
    is_ended = bool(phrases.CLAUSE_ENDS.match(after))
    if is_ended and (phrases.KEYED.search(before) or phrases.CLAUSE_BEGINS.search(before)):
        return _CLAUSE
    word = text[mention.start : mention.end].lower()
    if not is_strict:
        return _PROSE if is_ended or (word not in phrases.PROSE and len(word) > 1) else 0
    if not re.search(r"\w", text[: mention.start]) and word in phrases.CERTAIN and not phrases.CONJUNCTION.match(after):
        return _CLAUSE
    if mention.is_exact and phrases.CHOSEN.search(before):
        return _PROSE
    is_last = is_ended and not re.search(r"\w", text[mention.end :])
    sentence = phrases.SENTENCE_BREAK.split(before)[-1]
    return _PROSE if is_last and len(sentence.split()) <= _SENTENCE_WORDS and word not in ("pass", "fail") else 0
