"""Feeds mutated inputs to every reader for some minutes, and prints what came of them.

python -m tests.fuzz --minutes 60 --seed 0
python -m tests.fuzz --seed 0 --input 117        what one input of a seed holds, and what came of it
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path

from tests.fuzz.running import Summary, cases, fuzz, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--input", type=int)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "input"
        place.mkdir()
        if given.input:
            case = next(itertools.islice(cases(given.seed), given.input - 1, None))
            print(case.kind, case.name, case.mutation, *(content[:2000] for content in case.files.values()), sep="\n")
            print(run(case, place))
            return 0
        begun = shown = time.monotonic()
        summary, number = Summary(), 0
        faults = 0
        for summary, number in fuzz(given.seed, None, begun + 60 * given.minutes, place):
            for fault in summary.faults[faults:]:
                print(fault, flush=True)
            faults = len(summary.faults)
            if time.monotonic() > shown + 60:
                shown = time.monotonic()
                print(f"{number} inputs, {dict(summary.verdicts)}, slowest {summary.slowest:.1f} s", flush=True)
    _print(summary, number, time.monotonic() - begun)
    return 1 if summary.faults else 0


def _print(summary: Summary, number: int, seconds: float) -> None:
    rates = [60 * number / spent for spent in (seconds, time.process_time())]
    print(
        f"\n{number} inputs in {seconds:.0f} s ({rates[0]:.0f} a minute, {rates[1]:.0f} a minute of processor time), "
        f"slowest {summary.slowest:.1f} s"
    )
    print(dict(summary.verdicts))
    print("accepted, by kind and mutation, and why that is right:")
    for (kind, mutation, reason), count in sorted(summary.accepted.items()):
        print(f"{count:6} {kind}: {mutation}: {reason}")


if __name__ == "__main__":
    raise SystemExit(main())
