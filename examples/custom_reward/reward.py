#!/usr/bin/env python3
"""A reward of your own: JSON lines in, JSON lines out. Nothing to install.

Lapidary starts this program once and sends one line per completion:
    {"id": 0, "prompt": "…", "completion": "…", "answer": "…", "metadata": {…}, "tokens": 12, "truncated": false}
It expects one line back for each, in the same order:
    {"id": 0, "score": 0.5, "reason": "…"}        a score
    {"id": 0, "score": null, "reason": "…"}       no verdict: the completion is left out, which is not the same as 0
Print nothing else to stdout; stderr is free.
"""

import json
import re
import sys


def score(example):
    """1 for the right number, half of it when the completion rambles on. Put your own judgement here."""
    if example["answer"] is None:
        return None, "the row has no answer to compare with"
    numbers = re.findall(r"-?\d+(?:\.\d+)?", example["completion"].replace(",", ""))
    wanted = re.findall(r"-?\d+(?:\.\d+)?", example["answer"].replace(",", ""))
    if not numbers or not wanted or float(numbers[-1]) != float(wanted[-1]):
        return 0.0, "wrong or no number"
    if example["tokens"] > 200:
        return 0.5, "right, but long"
    return 1.0, "right"


def main():
    for line in sys.stdin:
        example = json.loads(line)
        value, reason = score(example)
        # flush: Lapidary waits for this line
        print(json.dumps({"id": example["id"], "score": value, "reason": reason}), flush=True)


if __name__ == "__main__":
    main()
