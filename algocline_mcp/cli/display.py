"""Shows the user what an answered run does: the prompt that is begun, or lines that change in place, and a summary.

Contract: everything goes to stderr. `Display` draws at a terminal alone and needs `rich`. What is written meanwhile
stands above it, and it is gone at the end.
"""

import time
from typing import TYPE_CHECKING, Self

from algocline_mcp.answering.drive import Watcher
from algocline_mcp.answering.prompts import Answer, Prompt
from algocline_mcp.cli import output

if TYPE_CHECKING:
    from rich.text import Text

_PER_SECOND = 4  # drawings; the clock of the run moves on between events
_CENTS_FROM = 0.1  # dollars
_NAMED = 4  # open prompts on the line
_LABEL_CHARS = 40


class View(Watcher):
    """Counts, and says nothing of the answers."""

    def __init__(self) -> None:
        self.began_s = time.monotonic()
        self.rounds = self.prompts = self.answers = self.refusals = self.recorded = 0
        self.tokens = {"prompt_tokens": 0, "completion_tokens": 0}
        self.cost: float | None = None
        self.open: dict[str, str] = {}  # prompts that are being answered: their ids, and what the strategy calls them

    def asked(self, count: int) -> None:
        self.rounds += 1
        self.prompts += count

    def begin(self, prompt: Prompt, position: str) -> None:
        self.open[prompt.query_id] = _name(prompt)

    def ended(self, prompt: Prompt, answer: Answer | None) -> None:
        del self.open[prompt.query_id]
        if answer is None:
            return
        self.answers += 1
        self.refusals += answer.refusal is not None
        self.recorded += answer.by == "recording"
        for name in self.tokens:
            self.tokens[name] += (answer.usage or {}).get(name, 0)
        if answer.cost is not None:
            self.cost = (self.cost or 0.0) + answer.cost
        if answer.warning is not None:
            output.note(f"alc: {answer.warning}")

    def progress(self, text: str) -> None:
        output.progress(text)

    def end_progress(self) -> None:
        output.end_progress()

    def summary(self) -> str:
        parts = [f"{_count(self.prompts, 'prompt')} in {_count(self.rounds, 'round')}", _count(self.answers, "answer")]
        of_answers = {"refused": self.refusals, "recorded": self.recorded}
        if any(of_answers.values()):
            parts[-1] += f" ({', '.join(f'{count} {name}' for name, count in of_answers.items() if count)})"
        if any(self.tokens.values()):
            parts.append(f"{self.tokens['prompt_tokens']:,} tokens in, {self.tokens['completion_tokens']:,} out")
        if self.cost is not None:
            parts.append(f"${self.cost:.4f}" if self.cost < _CENTS_FROM else f"${self.cost:.2f}")
        parts.append(f"{time.monotonic() - self.began_s:.0f} s")
        return " · ".join(parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class Silent(View):
    """Shows no progress either. An answer that was cut, or lacks something else, is still named."""

    def progress(self, text: str) -> None:
        pass

    def end_progress(self) -> None:
        pass


class Notes(View):
    """Says which prompt is being answered."""

    def begin(self, prompt: Prompt, position: str) -> None:
        super().begin(prompt, position)
        # Not as progress, which a line of the command's own stderr would be appended to.
        label = self.open[prompt.query_id]
        name = prompt.query_id if label == prompt.query_id else f"{prompt.query_id}, {label}"
        output.note(f"… answering {name} ({position})")


class Display(View):
    """Draws the state of the run, which changes in place."""

    def __init__(self) -> None:
        """Raises ImportError without `rich`."""
        from rich.live import Live

        super().__init__()
        self._message = ""
        self._make = Live
        self._live: Live | None = None

    def progress(self, text: str) -> None:
        self._message = output.cleaned(" ".join(text.split()))

    def end_progress(self) -> None:
        self._message = ""

    def __enter__(self) -> Self:
        from rich.console import Console

        console = Console(file=output.screen(), highlight=False)
        self._live = self._make(get_renderable=self._drawn, console=console, refresh_per_second=_PER_SECOND)
        self._live.start(refresh=True)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._live is not None
        self._message = ""
        self._live.transient = True  # the summary takes its place
        self._live.stop()

    def _drawn(self) -> "Text":
        from rich.text import Text

        names = ", ".join([*self.open.values()][:_NAMED]) + (", …" if len(self.open) > _NAMED else "")
        drawn = Text(self.summary(), style="bold", no_wrap=True, overflow="ellipsis")
        if names:
            drawn.append(f"\n  answering {names}", style="cyan")
        if self._message:
            drawn.append(f"\n  {self._message}", style="dim")
        return drawn


def _name(prompt: Prompt) -> str:
    """The label that the strategy has given, else the id."""
    label = prompt.options.get("label")
    words = output.cleaned(" ".join(label.split())) if isinstance(label, str) else ""
    return (words if len(words) <= _LABEL_CHARS else f"{words[: _LABEL_CHARS - 1]}…") or prompt.query_id


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def view_for(*, is_slow: bool, is_quiet: bool) -> View:
    """`is_slow`: somebody else answers, and the user waits."""
    if is_quiet:
        return Silent()
    if not is_slow:
        return View()
    if output.screen().isatty():
        try:
            return Display()
        except ImportError:
            pass  # rich comes with the extra `models`
    return Notes()
