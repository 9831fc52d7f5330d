"""Tables of Markdown pages."""

import re


def table_of(page: str, *heads: str) -> list[list[str]]:
    """The cells of the table whose first columns have these heads, without its head; backticks around a whole cell are
    removed."""
    lines = page.splitlines()
    (start,) = [n for n, line in enumerate(lines) if _cells(line)[: len(heads)] == list(heads)]
    body = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        body.append(_cells(line))
    return body


def _cells(line: str) -> list[str]:
    return [re.sub(r"^`([^`]+)`$", r"\1", cell.strip()) for cell in line.strip("|").split("|")]
