"""Divides StereoSet's development split into a tuning half and a final half by families of target terms.

    python evidence/split_dev.py make dev.json
    python evidence/split_dev.py write dev.json --half tuning --out tuning.json
    python evidence/split_dev.py write dev.json --half final --without-sample 600 --out rest.json
    python evidence/split_dev.py write dev.json --half final --kind intersentence --not-in train.jsonl --out unread.json

The halves are drawn by hashes alone, before any model is measured; README.md beside this file says what each is for.
"""

import argparse
import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from biasunlearn.data.families import family_of, shipped_families
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.sample import sampled
from biasunlearn.data.splits import groups_of
from biasunlearn.data.target_terms import with_targets

HALVES = Path(__file__).with_name("dev_halves.json")
FIXED_TEXT = "biasunlearn development split, 0.2.0"


def digest(bias_type: str, family: str) -> str:
    """SHA-256 of the fixed text, the bias type and the family's name."""
    return hashlib.sha256(f"{FIXED_TEXT}|{bias_type}|{family}".encode()).hexdigest()


def draw(items: list[dict[str, Any]]) -> dict[str, str]:
    """{digest of a family: half}: in the order of the digests, each family goes to the half with fewer items so far."""
    sizes: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        sizes[item["bias_type"]][digest(item["bias_type"], family_of(item["bias_type"], item["target"]))] += 1
    halves: dict[str, str] = {}
    for _, families in sorted(sizes.items()):
        filled = {"final": 0, "tuning": 0}
        for name in sorted(families):
            half = min(filled, key=lambda key: filled[key])
            halves[name] = half
            filled[half] += families[name]
    return halves


def half_of(item: dict[str, Any], halves: dict[str, str]) -> str:
    """The half of an item of the file; KeyError for a family that the division does not know."""
    return halves[digest(item["bias_type"], family_of(item["bias_type"], item["target"]))]


def trained_families(train: Path, named: Path) -> set[tuple[str, str]]:
    """(bias type, family) of the target terms of a file of training pairs, found as training finds them."""
    found = with_targets(read_triplets(str(train)).triplets, read_triplets(str(named)).triplets)
    return set(groups_of(found, shipped_families()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("make").add_argument("file", type=Path)
    write = commands.add_parser("write")
    write.add_argument("file", type=Path)
    write.add_argument("--half", choices=("tuning", "final"), required=True)
    write.add_argument("--out", type=Path, required=True)
    write.add_argument("--without-sample", type=int, help="leaves out what --limit N with seed 0 has read")
    write.add_argument("--kind", choices=("intrasentence", "intersentence"), default="intrasentence")
    write.add_argument("--not-in", type=Path, help="leaves out families with a pair in this file of training pairs")
    arguments = parser.parse_args()
    content = json.loads(arguments.file.read_text(encoding="utf-8"))
    if arguments.command == "make":
        if HALVES.exists():
            raise SystemExit(f"{HALVES}: exists; the division is made once")
        items = content["data"]["intrasentence"]
        found = {"file_sha256": hashlib.sha256(arguments.file.read_bytes()).hexdigest(), "families": draw(items)}
        HALVES.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return
    halves = json.loads(HALVES.read_text(encoding="utf-8"))["families"]
    items = [item for item in content["data"][arguments.kind] if half_of(item, halves) == arguments.half]
    if arguments.without_sample:
        read = set(sampled([item["bias_type"] for item in items], arguments.without_sample, seed=0))
        items = [item for number, item in enumerate(items) if number not in read]
    if arguments.not_in:
        trained = trained_families(arguments.not_in, arguments.file)
        families = [(item["bias_type"], family_of(item["bias_type"], item["target"])) for item in items]
        items = [item for item, family in zip(items, families, strict=True) if family not in trained]
    arguments.out.write_text(json.dumps({**content, "data": {arguments.kind: items}}), encoding="utf-8")
    print(f"{arguments.half}: {dict(Counter(item['bias_type'] for item in items))} items in {arguments.out}")


if __name__ == "__main__":
    main()
