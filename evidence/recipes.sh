#!/usr/bin/env bash
# Runs that compare recipes on the final half, after the default recipe has been fixed: nothing is chosen by them.
# DATA is a folder with the data sets, FINAL the half that split_dev.py writes, OUT a new folder. On the small model:
# the recipes paper and paper-code and, as a control, the default recipe without its invariance loss, three seeds each
# (final_half.sh has the default recipe). On a model of 135 M parameters: the default recipe with at most 150 stop items
# for each bias type, measured on the random sample of final_half.sh. --limit does not change the training.
set -euo pipefail
DATA=$1 FINAL=$2 OUT=$3 SMALL=$4 LARGER=$5 BASE=$6 # BASE: the run larger-0 of final_half.sh
training=(--train "$DATA/stereoset/train_pairs.jsonl" --unrelated "$DATA/stereoset/test_intrasentence_partial.json"
    --report "$FINAL")
benchmarks=(--benchmark "crows_pairs=$DATA/crows_pairs/crows_pairs_anonymized.csv" --benchmark "winobias=$DATA/winobias"
    --benchmark "perplexity=$DATA/text/wikitext2_test_clean_sentences.txt")

for seed in 0 1 2; do
    biasunlearn debias "$LARGER" "${training[@]}" --seed "$seed" --limit 20 --replacements 0 --set stop_items=150 \
        --out "$OUT/larger-$seed"
    biasunlearn measure "$LARGER" --adapter "$OUT/larger-$seed/adapter" --benchmark "stereoset=$FINAL" \
        "${benchmarks[@]}" --benchmark "bbq=$DATA/bbq/Religion.jsonl.gz" --seed 0 --limit 600 --replacements 2 \
        --out "$OUT/larger-$seed-measured"
    biasunlearn compare "$BASE:before" "$OUT/larger-$seed-measured" --out "$OUT/larger-$seed-compared"
done

for seed in 0 1 2; do
    for recipe in paper paper-code; do
        biasunlearn debias "$SMALL" "${training[@]}" "${benchmarks[@]}" --config "$recipe" --seed "$seed" \
            --out "$OUT/$recipe-$seed"
    done
    biasunlearn debias "$SMALL" "${training[@]}" "${benchmarks[@]}" --set invariance_weight=0 --seed "$seed" \
        --out "$OUT/without-invariance-$seed"
done
