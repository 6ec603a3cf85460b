"""Debias your own model on your own pairs, print the result, and use the adapter.

    python examples/debias_your_model.py MODEL runs/age

MODEL is a folder or the name of a model on the Hugging Face hub. By default, the pairs are the small age files beside
this script. Use --train and --report for your own files; docs/data.md describes their columns. Target terms of the
report file are not used in training.
"""

import argparse
from pathlib import Path

from biasunlearn import debias, load_config, write_report

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description="Debias a model and write its report.")
    parser.add_argument("model")
    parser.add_argument("out", help="the run folder to create")
    parser.add_argument("--train", default=str(HERE / "age_train.csv"))
    parser.add_argument("--report", default=str(HERE / "age_report.csv"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the recipe")
    given = parser.parse_args()

    config = load_config("biasunlearn", given.set)
    results = debias(given.model, train=given.train, report=given.report, out=given.out, config=config, say=print)

    before, after = results.before.stereoset, results.benchmarks.stereoset
    for bias_type, row in after.bias_types.items():
        was, now = before.bias_types[bias_type].ss, row.ss
        print(f"{bias_type}: SS {was.value:.1f} -> {now.value:.1f} (95 %: {now.low:.1f} to {now.high:.1f})")
    write_report([given.out], Path(given.out) / "again.html")  # the same page as report.html

    # The adapter is a standard PEFT adapter. To load it you need peft and transformers, but not this package.
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(given.model), results.adapter)
    tokens = AutoTokenizer.from_pretrained(given.model)("The old man", return_tensors="pt")
    print("next token:", int(model(input_ids=tokens["input_ids"]).logits[0, -1].argmax()))


if __name__ == "__main__":
    main()
