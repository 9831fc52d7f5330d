"""A long text, all of it: every piece is read on its own, so that the middle gets the same care as the beginning.

The findings are merged a few at a time until one answer is left; each finding keeps the number of its piece.

ctx: text, the text; task, what to find out; chars, how long a piece may be (4000).
"""

import re

import alc

AT_ONCE, MERGED = 8, 6
READER = "You read one piece of a longer text. Report what it says; add nothing."


def pieces_of(text, size):
    """Whole paragraphs, as many as fit into a piece; a longer one is cut at a blank where there is one."""
    pieces, piece = [], ""
    for paragraph in re.split(r"\n\s*\n", text):
        rest = paragraph
        while len(piece) + 2 + len(rest) > size:
            if piece.strip():
                pieces.append(piece)
            piece = ""
            if len(rest) <= size:
                break
            at = max(rest.rfind(" ", 0, size), rest.rfind("\n", 0, size)) + 1 or size
            pieces.append(rest[:at])
            rest = rest[at:]
        piece = f"{piece}\n\n{rest}" if piece else rest
    return [*pieces, piece] if piece.strip() else pieces


def ask_all(prompts, **options):
    """A few at a time: a host answers eight prompts with care, eighty not."""
    answers = []
    for first in range(0, len(prompts), AT_ONCE):
        answers += alc.llm_batch({"prompt": prompt, **options} for prompt in prompts[first : first + AT_ONCE])
        alc.progress(len(answers), len(prompts))
    return answers


def run(ctx):
    task, pieces = ctx["task"], pieces_of(ctx["text"], ctx.get("chars", 4000))
    if not pieces:
        raise ValueError("ctx.text is empty: give the text to read")
    readings = ask_all(
        [
            f"Task: {task}\nPiece {i} of {len(pieces)}:\n{piece}\n\n"
            f"What this piece says to the task, as short lines that begin with [{i}], or NOTHING."
            for i, piece in enumerate(pieces, 1)
        ],
        system=READER,
    )
    findings = [reading for reading in readings if not reading.lstrip().startswith("NOTHING")]

    rounds = 0
    while len(findings) > 1:
        groups = [findings[first : first + MERGED] for first in range(0, len(findings), MERGED)]
        findings = ask_all(
            [
                f"Task: {task}\nFindings:\n" + "\n---\n".join(group) + "\n\n"
                "Merge them. Keep every fact with its numbers in brackets; name contradictions."
                for group in groups
            ]
        )
        rounds += 1
    return {"answer": findings[0] if findings else None, "pieces": len(pieces), "merges": rounds}
