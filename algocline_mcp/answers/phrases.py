"""Words and signs around a mention that say what it is: the tables that the reader of verdicts goes by.

English first, with the commonest words of other languages: a missing word costs a question asked again, no wrong
reading. Each pattern looks at a window of limited length, so that reading takes time in proportion to the text.
"""

import re


def _words(*words: str, before: str = r"\b(?:", after: str = r")\b") -> str:
    return before + "|".join(words) + after


def _pattern(*parts: str) -> re.Pattern[str]:
    return re.compile("|".join(parts), re.IGNORECASE)


YES = (
    "yes", "true", "approved", "approve", "approves", "accept", "accepted", "accepts", "pass", "passed",
    "passes", "confirm",
    "confirmed", "agree", "agreed", "ok", "okay", "lgtm",
)  # fmt: skip
NO = (
    "no", "false", "rejected", "reject", "rejects", "deny", "denied", "block", "blocked", "fail", "failed",
    "fails", "refuse",
    "refused", "disagree", "decline", "declined",
)  # fmt: skip
# Of these, the words that begin an answer and are its verdict even where no sign ends them: "Yes I think so".
CERTAIN = frozenset(["yes", "true", "false", "lgtm", "approved", "rejected", "denied"])
# Words of everyday prose: a candidate where a sign ends them, inside a sentence they are not.
PROSE = frozenset(
    ["a", "i", "no", "in", "on", "out", "off", "go", "do", "is", "it", "at", "so", "be", "up", "ok", "as", "an", "or"]
)

NEGATION = _pattern(
    _words(
        "not?", "never", "neither", "nor", "none", "nothing", "nobody", "without", "hardly", "cannot",
        r"(?:is|are|was|were|does|do|did|wo|would|"
        r"ca|could|should|has|have)n't", "unable", "refuses? to", "fails? to", "failed to", "far from",
        "rather than", "instead of", "than",
        "anything but", "lacks?", "nicht", r"kein\w{0,2}", "nie", "pas", "jamais", "sin", "non",
    ) + r"(?!\s(?:only|just)\b)",
    "[不没未]",
)  # fmt: skip
NEGATION_AFTER = _pattern(
    r"\s(?:is|was|would be) (?:wrong|out|not|excluded)\b", r"\s(?:doesn't|does not|cannot|can't) (?:fit|hold|work)\b"
)
CONDITION = _pattern(
    _words(
        "if", "whether", "until", "unless", "once", r"(?<!i )(?:would|could|might|may|should)(?! (?:say|go)\b)",
        "(?:reply|answer|respond) with", "between", "asked for", "whichever", "needs? to", "(?:reason|grounds) to",
    )
)  # fmt: skip
DRAFT = _pattern(
    _words(
        "first", "initial(?:ly)?", "previous(?:ly)?", "earlier", "draft", "(?:i|we) thought",
        "thought (?:no|yes|it)", "was (?:about|going) to",
        "looked like", "used to", "no longer", "erste", "zuerst",
    ),
    "最初", "先选", "初步",
)  # fmt: skip
DRAFT_AFTER = _pattern(r"\s(?:yesterday|before|earlier|at first|initially|last time)\b")

# Between two mentions.
ALTERNATIVE = _pattern(r"[\s.,]{0,5}(?:\b(?:or|and|nor|vs\.?|versus|oder|und|ou|et)\b|[/|<>])\s{0,3}(?:an?\s|the\s)?")
LISTED = _pattern(r"\s?,\s?(?:an?\s)?")
ARROW = _pattern(r"\s{0,3}(?:→|->|=>)\s{0,3}")
KEY = _pattern(r"\s?[:=]\s{0,3}(?=(?:yes|no|true|false)\b)")

RETRACTION = _pattern(
    r"(?:^|[.!?…:,;*\n-]\s{0,3})(?:but )?(?P<word>(?:no,? )?wait\b|hold on|actually\b(?=,)|correction\b|"
    r"korrektur\b|edit\b(?=:)|on second thought|"
    r"scratch that|sorry, i mean|i mean\b|hmm\b|oops\b|no, look|i retract|i take back|i withdraw|let me (?:re|"
    r"double))"
)
WITHDRAWAL = _pattern(
    r"\b(?:on second thought|scratch that|i retract|i take back|i withdraw|(?:that|this|it) is wrong|"
    r"none of (?:the|these) \w+ fits?|"
    r"(?:can't|cannot|can not) (?:say which|decide)|i don't know)\b"
)

CLAUSE_BREAK = _pattern(
    r"[.;:!?\n()\[\]{}—–,]", r"\s-\s", r"\b(?:but|so|hence|therefore|instead|sondern|mais)\b(?! that)"
)
SENTENCE_BREAK = _pattern(r"[.!?\n]")

_FINAL = (
    _words(
        "final", "overall", "consensus", "revised", "corrected", "correction", "updated", "endgültige?",
        r"gesamt\w{0,12}",
        "finale?", "korrektur",
    )
    + "|最终|最終"
)  # fmt: skip
_LABEL = (
    _words(
        "verdict", "answer", "decision", "conclusion", "result", "judge?ment", "choice", "pick", "option",
        "label", "category", "class",
        "classification", "status", "state", "vote", "rating", "grade", "response", "language",
        "recommendation", "assessment", "phase",
        "antwort", "urteil", "réponse", "respuesta", "risposta", "ответ",
    )
    + "|答案|答え|结论|結論|[选選]"
)  # fmt: skip
_EQUALS = r"(?:\s?[:=|]|=>|->|→|—|\b(?:is|are|was|as|ist|est|es|è)\b|的?是|は|为|為)\s{0,3}(?:[:=]\s{0,3})?"
_FILLER = r"(?:therefore |thus |clearly |now |an? |the |option )?[^\w\n]{0,4}"
# Behind these, at the end of what stands before a mention, the mention is labelled.
FINAL = _pattern(_FINAL)
LABELLED = _pattern(
    rf"(?:(?P<final>{_FINAL})|{_LABEL})[^\n.!?:]{{0,40}}?{_EQUALS}{_FILLER}\Z",
    rf"(?P<final_heading>{_FINAL})[^\n.!?:]{{0,40}}\n\s{{0,4}}[^\w\n]{{0,4}}\Z",
    rf"(?:{_LABEL})(?:[ \t]?[(\[]?|[^\w\n]{{0,4}}\n\s{{0,4}}[^\w\n]{{0,4}})\Z",
)
KEYED = _pattern(r"(?:\A|[\n.!?;,{(]|\s-)\s{0,3}[^\n.!?;,:]{1,40}:\s{0,3}[^\w\n]{0,4}\Z")
CONFIRMED = _pattern(r"[^\w\n]{0,3}\sis\s(?:the\s)?(?:(?:only\s)?correct|right|best)\b(?! (?:that|about|when|if)\b)")
CHOSEN = _pattern(
    r"\b(?:i|i'd|i'll|i'm|let's|we|my)\s(?:(?:have to|must|can only|only|now|today|still|hereby|would|will|"
    r"vote is)\s)?"
    r"(?:say:?|said|choose|pick|select|vote(?: for)?|go with|going with|recommend|rated? it|prefer|answer|"
    r"write (?:this|it) in)?\s?(?:that )?(?:it )?"
    r"(?:an? |the |option )?\Z"
)
CLAUSE_BEGINS = _pattern(
    r"(?:\A|[.,;:!?\n()…]|\s[-–—]|[-–—]\s|\b(?:now|thus|therefore|so|hence|but)\b)[^\w\n]{0,6}(?:an? |the |"
    r"it's an? |it is |it's )?\Z"
)
CLAUSE_ENDS = _pattern(
    r"[^\w\n.,;:!?()]{0,4}(?:\Z|[.,;:!?\n()…/]|\s[-–—])", "[–—]", r"\s?(?:because|since|as|due|for)\b", "です", "だ"
)
CONJUNCTION = _pattern(r"\s(?:and|or|nor)\b")
