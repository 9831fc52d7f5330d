"""Rewrites sentences for a model into sentences for a person at the terminal. Pure."""

import re

_WORDS = (
    (r"(; next: [^;]*)? \[[a-z_]+\]$", ""),  # the next call is for models, the stable code for programs
    (r"\bforce replaces it", "--force replaces it"),
    (r"; then restart this server", ""),  # a command starts its own
    (r"\balc_stop mode=delete\b", "alc stop --delete"),
    (r' at a terminal, or alc_package\(action="install"\) with ALC_TOOLS=author', ""),
    (r'\balc_package\(action="(\w+)", name="([^"]+)"\)', r"alc pkg \1 \2"),
    (r"\balc_catalog\([^)]*\)", "alc pkg list"),
    (r"\balc_eval_history lists the runs$", "alc eval list shows the runs"),
    (r", given to alc_run as code$", ""),
    (r"\balc_status with wait_s tries again\b", "alc continue tries again"),
    (r"\bgive code_file\b", "name it with its suffix: alc run FILE.py"),
    (r"\balc_branch\b", "alc branch"),
    (r"\balc_run\b", "alc run"),
    (r"\balc_continue\b", "alc continue"),
    (r"\balc_stop\b", "alc stop"),
    (r"\balc_status\(\)", "alc ps"),
    (r"\balc_status\b", "alc ps"),
    # examples of arguments: a text, a number, any other value, a file
    (r'\btask="…"', "task=…"),
    (r'\bopts=\{"(\w+)": "([^"]*)"\}', r"\1=\2"),
    (r'\bopts=\{"(\w+)": ([\w.-]+)\}', r"\1=\2"),
    (r'\bopts=\{"(\w+)": (.+?)\}(?=[ ,]|$)', r"\1:='\2'"),
    (r'\bctx_files=\{"(\w+)": "PATH"\}', r"\1=@PATH"),
)


def at_terminal(sentence: str, sid: str = "SID", file: str = "FILE") -> str:
    """`sid`: of the session that the sentence is about; `file`: its strategy, and options behind it."""
    for call, command in (
        ("call alc_branch with this session_id and code=… (or ctx=…, the whole of it)", f"run alc branch {sid} {file}"),
        ("alc_branch(session_id, code=…)", f"alc branch {sid} {file}"),
        ("alc_branch(session_id)", f"alc branch {sid}"),
    ):
        sentence = sentence.replace(call, command)
    for pattern, word in _WORDS:
        sentence = re.sub(pattern, word, sentence)
    return sentence
