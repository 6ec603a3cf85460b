#!/usr/bin/env bash
# The default recipe on a model of 135 M parameters, after its learning rate has been chosen on the tuning half: three
# seeds, and the recipes `paper` and `paper-code`, which has stop items of its own. REST is the part of the final half that
# no run of this model has read before (split_dev.py write --half final --without-sample 600), FINAL the whole half, whose
# target terms are left out of training. --limit does not change the training. DATA is a folder with the data sets, OUT a
# new folder.
set -euo pipefail
DATA=$1 FINAL=$2 REST=$3 OUT=$4 MODEL=$5
measured=(--benchmark "stereoset=$REST" --benchmark "crows_pairs=$DATA/crows_pairs/crows_pairs_anonymized.csv"
    --benchmark "winobias=$DATA/winobias" --benchmark "perplexity=$DATA/text/wikitext2_test_clean_sentences.txt"
    --benchmark "bbq=$DATA/bbq/Religion.jsonl.gz" --seed 0)

biasunlearn measure "$MODEL" "${measured[@]}" --out "$OUT/base"
for recipe in biasunlearn paper paper-code; do
    stop=(--set stop_items=500)
    if [ "$recipe" = paper-code ]; then stop=(); fi
    for seed in 0 1 2; do
        biasunlearn debias "$MODEL" --train "$DATA/stereoset/train_pairs.jsonl" --report "$FINAL" --config "$recipe" \
            --unrelated "$DATA/stereoset/test_intrasentence_partial.json" --seed "$seed" "${stop[@]}" \
            --limit 20 --replacements 0 --out "$OUT/$recipe-$seed"
        biasunlearn measure "$MODEL" --adapter "$OUT/$recipe-$seed/adapter" "${measured[@]}" \
            --out "$OUT/$recipe-$seed-measured"
        biasunlearn compare "$OUT/base" "$OUT/$recipe-$seed-measured" --out "$OUT/$recipe-$seed-compared"
    done
done
