"""Agent with tools: the model names a tool and its input until it is done, at most four times."""

import json
import re
from collections.abc import Callable
from typing import Any

import alc


class Agent:
    def __init__(self, task: str) -> None:
        self.task = task
        self.steps: list[str] = []

    @property
    def history(self) -> str:
        return "\n".join(self.steps)

    @staticmethod
    def tool(name: str, text: str) -> str:
        tools: dict[str, Callable[[], str]] = {"count": lambda: str(len(text)), "upper": text.upper}
        tools["json"] = lambda: json.dumps(text)
        return tools[name]() if name in tools else "no such tool"

    def step(self) -> bool:
        answer = alc.llm(f"Task: {self.task}\nSo far: {self.history}\nWrite a tool and its input.")
        words = re.findall(r"\w+", answer)
        name = ("count", "upper", "json")[len(words) % 3]
        self.steps.append(f"{self!r} {name}: {self.tool(name, answer)}")
        return len(self.steps) < 4


def run(ctx: dict[str, Any]) -> list[str]:
    agent = Agent(str(ctx["task"]))
    while agent.step():
        pass
    return agent.steps
