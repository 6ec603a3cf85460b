#!/usr/bin/env bash
# The runs behind docs/evidence.md that read the final half: DATA is a folder with the data sets, FINAL the half that
# split_dev.py writes, OUT a new folder. Three seeds of the default recipe on a small model; on a model of 135 M
# parameters one seed with smaller batches, fewer steps and a random sample of the items, since the whole takes hours.
set -euo pipefail
DATA=$1 FINAL=$2 OUT=$3 SMALL=$4 LARGER=$5
common=(--train "$DATA/stereoset/train_pairs.jsonl" --unrelated "$DATA/stereoset/test_intrasentence_partial.json"
    --report "$FINAL" --benchmark "crows_pairs=$DATA/crows_pairs/crows_pairs_anonymized.csv"
    --benchmark "winobias=$DATA/winobias" --benchmark "perplexity=$DATA/text/wikitext2_test_clean_sentences.txt")

for seed in 0 1 2; do
    biasunlearn debias "$SMALL" "${common[@]}" --seed "$seed" --out "$OUT/small-$seed"
done
biasunlearn debias "$LARGER" "${common[@]}" --benchmark "bbq=$DATA/bbq/Religion.jsonl.gz" --seed 0 --limit 600 \
    --replacements 2 --set forget_batch=8 --set unrelated_batch=8 --set context_batch=4 --set guard_batch=4 \
    --set max_steps=60 --set evaluate_every=20 --set first_evaluation=20 --set stop_items=60 --out "$OUT/larger-0"
