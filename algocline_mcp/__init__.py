"""algocline-mcp: an MCP server that runs reasoning strategies and loses no answer.

Reading order: session -> journal -> worker/keeper -> worker/engine -> pool/dispatch -> tools.

The rooms:
  session    THE CENTRE, pure: what a record means, which records an event deserves, what the host is told
  journal    one append-only file per session: codec, append, flush, lock, recovery
  wire       JSON lines between server and worker, pure
  limits     every limit with its unit, every path under ALC_HOME
  settings   the settings that are no limits, and which variables look like a slip, pure
  errors     the tree of errors and their stable codes
  streams    the strategy and the children of alc.fork: who is there, who has its turn, pure
  tally, terms, languages, cards   counters; what ctx asks for; what is known of a language; what a card is
  pool/      the server's half: registry, spawn, forks, client, reach, admission, disk, dispatch; what a journal tells
             (listing, views, transcript, redaction); what becomes of it (branch, retention, carry, rehearse); packages
             (project, packages, about: found and read; store, bring, git, mend, scaffold, local: changed; specs:
             tested) and others' cards (bring_cards); what is shown of all that is kept (catalog, figures, stored); the
             Rust program's words for it (snapshot, minutes)
  worker/    the worker's half: keeper (sockets, deadlines), custody (replay, engines), starts and troubles (what an
             engine begins with, why it cannot go on), ledger (journal and session), errands (what engines ask of the
             world), engine, effects and environ (what is outside), shared, state, values and cards (what sessions
             share), the fork server, library (what alc.* is in every language), and one folder per language
  server, tools, resources   the MCP surface: what is registered, the tools, what can be read   host/   what they need
  tools_author, tools_full, tools_packages, tools_kept, tools_cards   further tools, listed with ALC_TOOLS
  stdio, memo          the wire to the host, and answers before the SDK is there
  cli, terminal/       the commands at the terminal
  __main__             the one executable: looks at argv before it imports anything

The import rule, checked by import-linter: limits and errors import the standard library only; session and
wire may import those two; journal may import these four; both halves may import these five and never each
other; the worker imports neither mcp, anyio nor pydantic.
"""

__version__ = "0.1.0"
