"""algocline-mcp: an MCP server for durable, multi-step prompting.

A *strategy* is code that calls `alc.llm(prompt)`. It runs in a *worker* of its own, pauses at each prompt, and resumes
with the answer of the host's model. Every answer is in the session's *journal* before the strategy sees it.

The folders, top down. An import between two folders goes down only (checked by import-linter, see pyproject.toml):

  __main__        the one executable; reads argv before it imports anything
  cli/            the commands at the terminal: `alc run`, `alc ps`, `alc doctor`, ...
  http/           `alc serve`: the MCP server over HTTP, its limits and its end
  server/         the MCP server: app and resources; tools/ (what a host lists), tool_call/ (what every tool needs),
                  compat/ (the tool names of upstream, the Rust algocline; listed with ALC_TOOLS=full)
  front/          the process that a host starts: owns stdio, starts the server when a request needs it, outlives it
  transport/      between the front and the SDK: lines repaired and judged, the server's stdin and stdout
  evaluation/     `alc eval`: cases, graders, durable runs, statistics, report, charts
  answering/      what answers prompts without a person: commands, files, models; several at once
  strategies/     packages in Python that come with the program: they run in an engine, and nothing imports them
  packages/       installed packages: found, installed from git, checked, tested; the catalog
  cluster/        sessions in PostgreSQL: connections, tables and their versions, journals as rows, moves; nodes
  pool/           the live workers: dispatch (run, continue, status, stop), reach, spawn, admission, registry, branch
  history/        what a journal says: listing, views, transcript, export, retention
  worker/         the other half, processes of their own: fork_server/ -> keeper/ (trusted: journal, socket, limits)
                  -> database/ (alc.state, alc.card) -> engine/ (runs the code; lua/) -> confinement/ (of the
                  engine, by the kernel) -> lowlevel/ (memory, titles)
  storage/        files that must survive: journal, atomic replacement, socket names, the home's directories
  session/        the centre, pure: a session is the fold of its records; what an event deserves; what the host is told
  protocol/       JSON lines between the server and a worker, pure
  config/         limits, paths of the home, settings
  answers/        readers of answers (scores, numbers, yes or no, choices, JSON, schemas), one for every language
  cards           what a card is
  help/           pages about alc.* by topic, which a model reads: alc_catalog(kind="help")
  languages       what is known of each language a strategy may be written in
  package_inputs  the inputs that a package declares, read from ctx; nearness: the nearest known name
  python_hints    syntax errors of Python, with hints; python_source: the forms of a strategy in Python, compiled
  errors          the tree of errors and their stable codes

The server's half (cli, http, server, answering, packages, pool, history) and the worker never import each other.
Reading order: session/state -> storage/journal -> worker/keeper -> worker/engine -> pool/dispatch -> server/tools.
"""

__version__ = "0.2.0"
