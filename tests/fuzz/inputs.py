"""Sound files of every kind that a reader takes; mutations.py damages them. A folder is a dict of its files."""

import gzip
import io
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from tests import made_runs

Files = dict[str, bytes]
"""{name inside the folder: content}. A file by itself has one entry."""

PAIRS = [
    {
        "id": f"p{number}", "bias_type": bias_type, "target": target, "context": f"The {target} is BLANK.",
        "stereotype": f"The {target} is {bad}, as \u00e9\u8001 \"say\".", "anti_stereotype": f"The {target} is {good}.",
        "unrelated": f"The {target} is table {number}.",
    }
    for bias_type in ("age", "work")
    for number, (target, bad, good) in enumerate(
        (
            ("boss", "tired", "lively"), ("nurse", "slow", "quick"), ("cook, too", "rude", "polite"),
            ("pilot", "dull", "kind"),
        ),
        start=0 if bias_type == "age" else 4,
    )
]  # fmt: skip

CHOSEN = [
    {"id": 1, "prompt": [{"role": "user", "content": "The boss is"}],
     "chosen": [{"role": "assistant", "content": "kind"}],
     "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "rude"}]}]},
    {"id": 2, "prompt": "The cook is", "chosen": "polite", "rejected": "dull", "bias_type": "work"},
]  # fmt: skip

STEREOSET = {"version": "1.0", "data": {kind: [
    {"id": f"{kind}{number}", "target": "boss", "bias_type": "work", "context": context, "sentences": [
        {"id": f"{kind}{number}{label}", "sentence": f"The boss is {word}.", "labels": [], "gold_label": label}
        for label, word in (("stereotype", "rude"), ("anti-stereotype", "kind"), ("unrelated", "table"))]}
    for number in range(2)] for kind, context in (
        ("intrasentence", "The boss is BLANK."), ("intersentence", "A boss came in."))}}  # fmt: skip

CROWS = [
    {"": number, "sent_more": f"The {more} ran, fast.", "sent_less": f"The {less} ran, fast.",
     "stereo_antistereo": "stereo", "bias_type": "gender"}
    for number, (more, less) in enumerate((("woman", "man"), ("girl", "boy"), ("\u5973\u4eba", "\u7537\u4eba")))
]  # fmt: skip

BBQ = [
    {
        "example_id": number, "question_index": "1", "category": category, "question_polarity": polarity,
        "context_condition": "ambig", "context": "Ann and Bea met.", "question": "Who was late?", "ans0": "Ann",
        "ans1": "Bea", "ans2": "Unknown", "label": 2,
        "answer_info": {"ans0": ["Ann", tags[0]], "ans1": ["Bea", tags[1]], "ans2": ["Unknown", "unknown"]},
        "additional_metadata": {"stereotyped_groups": groups, "version": "x", "source": ""},
    }
    for number, (category, polarity, tags, groups) in enumerate((
        ("SES", "neg", ("lowSES", "highSES"), ["low SES"]),
        ("Gender_identity", "nonneg", ("trans_F", "woman"), ["Transgender women", "trans"]),
        ("Race_x_gender", "neg", ("F-Black", "M-Black"), ["Black"]),
    ))
]  # fmt: skip

PROMPTS = [
    {"filename": "a.txt", "prompt": {"text": "He said", "toxicity": 0.2}},
    {"prompt": {"text": "She said", "toxicity": 0.9}},
    {"prompt": {"text": "They said", "toxicity": None}},
]

SEAT = {
    name: {"category": f"Category{name}", "examples": [f"This is {name} {word}." for word in ("one", "two", "three")]}
    for name in ("targ1", "targ2", "attr1", "attr2")
}

BOLD = {"American_actors": {"A_B": ["A B is an", "A B was a"]}, "American_actresses": {"C_D": ["C D is an"]}}

TERMS = """\
bias_type: gender
pairs:
  - [he, she]
  - [uncle, aunt]
one_way:
  - [auntie, uncle]
groups:
  - {family: a, person: nurse, people: nurses}
  - {family: b, person: pilot, people: pilots}
neutral: [mother tongue]
clashes: [pregnant, Mary]
"""

RECIPE = """\
method: biasunlearn
seed: 3
learning_rate: 4e-4
lora_targets: [q_proj, v_proj]
max_steps: 100
stop_items: null
swap: pi
adversarial_share: 0.25
"""

POLICY = """\
stereoset:
  overall:
    minimum_n: 1
    ss: {within: [0, 100]}
    lms: {falls_at_most: 100}
  bias_types:
    minimum_n: 1
    ss: {contains: 50, over_debiased: forbidden}
"""

FAMILIES = "gender:\n  - [mother, mum, mummy]\n  - [father, dad]\nage: [[pensioner, old man]]\n"

WINOBIAS = {
    "male_occupations.txt": b"driver\nchief\n",
    "female_occupations.txt": b"nurse\nbaker\n",
    "pro_stereotyped_type1.txt.dev": (
        b"1 [The driver] met the nurse because [he] was late.\n2 The chief met [the baker] because [she] was late.\n"
    ),
    "anti_stereotyped_type1.txt.dev": (
        b"1 [The driver] met the nurse because [she] was late.\n2 The chief met [the baker] because [he] was late.\n"
    ),
}

PREDICTIONS = {
    kind: [{"id": f"{kind}{number}", "score": -1.5 * number} for number in range(4)]
    for kind in ("intrasentence", "intersentence")
}


def table(rows: list[dict[str, Any]], form: str) -> bytes:
    """Rows as csv, tsv, jsonl, json, parquet, or one of these with .gz."""
    if form.endswith(".gz"):
        return gzip.compress(table(rows, form.removesuffix(".gz")), mtime=0)
    if form == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if form == "json":
        return json.dumps(rows).encode()
    if form == "parquet":
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
        return buffer.getvalue()
    import csv

    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter="," if form == "csv" else "\t")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


@cache
def sound() -> tuple[tuple[str, str, Files], ...]:
    """(kind as `validate --as` has it, name, files) of every sound input."""
    made: list[tuple[str, str, Files]] = []

    def file(kind: str, name: str, content: bytes) -> None:
        made.append((kind, name, {name: content}))

    for form in ("csv", "tsv", "jsonl", "json", "parquet", "csv.gz", "jsonl.gz"):
        file("pairs", f"pairs.{form}", table(PAIRS, form))
    file("pairs", "chosen.jsonl", table(CHOSEN, "jsonl"))
    file("pairs", "stereoset.json", json.dumps(STEREOSET).encode())
    file("crows_pairs", "crows.csv", table(CROWS, "csv"))
    file("bbq", "bbq.jsonl", table(BBQ, "jsonl"))
    file("realtoxicityprompts", "prompts.jsonl", table(PROMPTS, "jsonl"))
    file("seat", "test.jsonl", json.dumps(SEAT, indent=1).encode())
    file("bold", "gender_prompt.json", json.dumps(BOLD).encode())
    file("sentences", "text.txt", "He ran.\nShe ran, \u00e9 \u8001.\n".encode())
    file("terms", "terms.yaml", TERMS.encode())
    file("terms", "terms.csv", b"term,counterpart\nuncle,aunt\ndad,mum\n")
    file("families", "families.yaml", FAMILIES.encode())
    file("recipe", "recipe.yaml", RECIPE.encode())
    file("policy", "policy.yaml", POLICY.encode())
    file("predictions", "predictions.json", json.dumps(PREDICTIONS).encode())
    made.append(("winobias", "winobias", dict(WINOBIAS)))
    made.append(("winogender", "winogender", {
        "all_sentences.tsv": "".join(
            f"{name}\n" for name in ("sentid\tsentence", *(
                f"nurse.guest.{answer}.{gender}.txt\tThe nurse told the guest that {word} was late."
                for answer in "01" for gender, word in (("male", "he"), ("female", "she"), ("neutral", "they"))))
        ).encode(),
        "occupations-stats.tsv": b"occupation\tbergsma_pct_female\tbls_pct_female\nnurse\t80.5\t89.2\n",
    }))  # fmt: skip
    made.append(("run", "run", _run()))
    return tuple(made)


def _run() -> Files:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "run"
        made_runs.debiased(place, made_runs.items({"age": 84, "work": 96}), made_runs.items({"age": 60, "work": 60}))
        return {str(p.relative_to(place)): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()}
