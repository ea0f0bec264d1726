"""Pyro's own examples under pyrogen: prints docs/generated/compatibility.md, given a checkout of pyro-ppl/pyro.

    PYROGEN_PYRO=/path/to/pyro python benchmarks/compatibility.py > docs/generated/compatibility.md

Nothing of the checkout is copied. The exit status is 1 where something is refused that should not be, or in other words, or
where a loss or an estimate is not Pyro's own.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import torch
from pyro_examples import EXAMPLES, Example
from pyro_examples.checkout import imported, version_of
from pyro_examples.page import page
from pyro_examples.trial import Result, tried


def main(arguments: list[str] | None = None) -> int:
    """Try every example, print the page, and say on the error stream what was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a part of the path of the examples to try")
    parser.add_argument("--pyro", default=os.environ.get("PYROGEN_PYRO"), help="the checkout of pyro-ppl/pyro")
    options = parser.parse_args(arguments)
    if not options.pyro:
        parser.error("name a checkout of github.com/pyro-ppl/pyro in PYROGEN_PYRO, or with --pyro")
    torch.set_num_threads(1)
    found: list[tuple[Example, list[Result]]] = []
    wrong = 0
    for example in EXAMPLES:
        if options.only not in example.path:
            continue
        start = time.perf_counter()
        torch.manual_seed(0)
        with imported(example, Path(options.pyro)) as module:
            results = [tried(attempt) for attempt in example.attempts(module)]
        found.append((example, results))
        for result in results:
            for problem in result.wrong:
                wrong += 1
                print(f"{example.path} ({result.attempt.title}): {problem}", file=sys.stderr)
        print(f"{example.path}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
    text = page(found, version_of(Path(options.pyro)))
    print(text.replace(f"{Path(options.pyro) / 'examples'}/", "").rstrip())
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
