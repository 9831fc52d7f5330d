"""A model for tests, which answers in the format that a prompt asks for: numbers, yes or no, letters, lists, JSON.

Contract: equal prompts get equal answers and different prompts mostly different answers, as at temperature 0.
"""

import hashlib
import json
import re
from collections.abc import Callable

Model = Callable[[str, str | None], str]


def _number(prompt: str, limit: int) -> int:
    """A number from 1 to `limit` that depends only on the prompt."""
    return 1 + int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4]) % limit


def _json(prompt: str) -> str:
    n = _number(prompt, 9)
    return json.dumps({"score": n, "confidence": n / 10, "answer": f"answer {n}", "reason": "because"})


def _prose(prompt: str) -> str:
    n = _number(prompt, 1000)
    return f"1. First point {n}.\n2. Second point.\n3. Third point.\nANSWER: {n % 5}\nSCORE: {n % 10}\nVERDICT: yes"


RULES: list[tuple[re.Pattern[str], Callable[[str], str]]] = [
    (re.compile(r"Verdict: A\b"), lambda prompt: f"Verdict: {'AB'[_number(prompt, 2) - 1]}"),
    (re.compile(r"json", re.IGNORECASE), _json),
    (re.compile(r"(score|rate|rating).{0,80}(number|only|1-10|0-10|1 to 10)", re.IGNORECASE | re.DOTALL),
     lambda prompt: str(_number(prompt, 10))),
]  # fmt: skip


def answer_to(prompt: str, system: str | None) -> str:
    whole = f"{system or ''}\n{prompt}"
    for pattern, write in RULES:
        if pattern.search(whole):
            return write(prompt)
    return _prose(prompt)


HOSTILE: dict[str, Model] = {
    "empty": lambda prompt, system: "",
    "junk": lambda prompt, system: "N/A ???",
    "long": lambda prompt, system: "A line of an answer that does not end, x1.\n" * 24_000,  # 1 MB
    "multibyte": lambda prompt, system: "日本語の答え、" * 200,
}
