"""Check a model in a pipeline: measure it, check it against a policy, write a report, and fail if a rule does not hold.

    python examples/gate_model.py MODEL --benchmark stereoset=dev.json --policy examples/ci_policy.yaml --out runs/gate

The exit code is 0 if every rule holds, 1 if a rule does not hold, and 2 if the request is wrong.
`examples/github_workflow.yml` is a complete workflow for GitHub Actions that runs this script.
"""

import argparse
import sys
from pathlib import Path

from biasunlearn import RequestError, gate, measure

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description="Check a model against a policy of limits.")
    parser.add_argument("model")
    parser.add_argument("--adapter")
    parser.add_argument("--benchmark", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--policy", default=str(HERE / "ci_policy.yaml"))
    parser.add_argument("--out", required=True, help="the run folder to create; it contains report.html")
    given = parser.parse_args()
    try:
        benchmarks = dict(one.split("=", 1) for one in given.benchmark)
        measure(given.model, benchmarks, adapter=given.adapter, out=given.out)
        verdict = gate(given.out, given.policy)
    except RequestError as error:
        print(error, file=sys.stderr)
        return 2
    for rule in verdict.rules:
        print(f"{'pass' if rule.passed else 'FAIL'}  {rule.rule}: {rule.found}")
    return 0 if verdict.passed else 1


if __name__ == "__main__":
    sys.exit(main())
