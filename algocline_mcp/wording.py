"""Words that differ between the languages, in texts for the author of a strategy.

A text names such a word in braces: "ctx must be {a table}". Each language inserts its own once, when it gets the texts.
"""

import re
from collections.abc import Mapping

LUA = {
    "table": "table",
    "a table": "a table",
    "array": "array",
    "an array": "an array",
    "item": "a table {prompt = …}",
    "table without .prompt": "table without .prompt",
    "names as keys": "a table with names as keys",
    "schema": "a table such as {type = 'object', properties = {name = {type = 'string'}}}",
}
PYTHON = {
    "table": "dict",
    "a table": "a dict",
    "array": "list",
    "an array": "a list",
    "item": 'a dict {"prompt": …}',
    "table without .prompt": 'dict without "prompt"',
    "names as keys": "a dict with texts as keys",
    "schema": 'a dict such as {"type": "object", "properties": {"name": {"type": "string"}}}',
}
_WORD = re.compile(r"\{([a-z. ]+)\}")


def in_words(text: str, words: Mapping[str, str]) -> str:
    return _WORD.sub(lambda match: words[match[1]], text)
