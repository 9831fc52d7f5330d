"""A model that is known in full: it adds two numbers, and is wrong where its rule says so.

As a program it answers the prompt on its stdin. It writes each prompt that it has answered into the file $ASKED, and
kills its parent instead of answering where the number of answers is in $KILL_AT, once for each.
"""

import os
import re
import signal
import sys

STRATEGY_ONE = 'import alc\n\n\ndef run(ctx):\n    return alc.llm("Compute " + ctx["task"])\n'
STRATEGY_TWO = 'local draft = alc.llm("Draft " .. ctx.task) return alc.llm("Check " .. ctx.task .. " after " .. draft)'
COUNT = 20
CASES = "".join(f'{{"id": "c{n}", "input": "{n}+{n}?", "expected": "{2 * n}"}}\n' for n in range(COUNT))


def is_right(strategy: int, number: int) -> bool:
    return bool(number % (7, 3)[strategy == 0])


def answer(prompt: str) -> str:
    match = re.search(r"(\d+)\+", prompt)
    number = int(match[1]) if match else 0
    strategy = 0 if prompt.startswith("Compute") else 1
    is_wrong = not prompt.startswith("Draft") and not is_right(strategy, number)
    return f"The answer is {2 * number + is_wrong}"


def main() -> None:
    prompt = sys.stdin.read()
    path = os.environ["ASKED"]
    with open(path, "a+") as asked:
        asked.seek(0)
        count = len(asked.readlines())
        killed = f"{path}.killed-{count}"
        if str(count) in os.environ.get("KILL_AT", "").split(",") and not os.path.exists(killed):
            with open(killed, "x"):
                pass
            os.kill(os.getppid(), signal.SIGKILL)
            sys.exit(1)
        asked.write(repr(prompt) + "\n")
    print(answer(prompt))


if __name__ == "__main__":
    main()
