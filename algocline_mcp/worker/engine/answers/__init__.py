"""Readers of answers: one implementation for every language, pure, linear in the text.

The rule for doubt: nothing rather than a wrong value, for only where nothing is read is asked again. Which evidence
outranks which, strongest first:

1. Thinking is no answer: what stands before the last closing tag, or after an opening that is never closed.
2. A marked value: `Final answer: X`, `\\boxed{X}`, `<answer>X</answer>`. Of several the last, for a correction follows
   what it corrects.
3. A value alone on its line, then the value that begins the answer ("Yes. The change has no risk.").
4. Words in prose. What follows the last sign of a correction ("wait", "actually") outranks what precedes it. Negated,
   hypothetical and asked mentions do not count. Where two values are left, there is none.

Numbers that name a scale, a list item, a year, a version or a count are no verdict. A part of a broken JSON value is
never returned as the whole.
"""
