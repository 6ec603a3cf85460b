#!/usr/bin/env bash
# The default recipe with ordinary text in the unrelated set, on a model of 135 M parameters. The change was found on the tuning
# half, after the final half had been read. It is therefore measured on items that no run has read before: the intersentence
# items of the final half whose families of target terms have no training pair. ORDINARY is a file of ordinary sentences that
# are not measured, DATA a folder with the data sets, TUNING the tuning half that split_dev.py writes, OUT a folder.
set -euo pipefail
DATA=$1 TUNING=$2 ORDINARY=$3 MODEL=$4 OUT=$5
mkdir -p "$OUT"
python evidence/split_dev.py write "$DATA/stereoset/dev.json" --half final --kind intersentence \
    --not-in "$DATA/stereoset/train_pairs.jsonl" --out "$OUT/unread.json"
measured=(--benchmark "stereoset=$OUT/unread.json" --replacements 2 --seed 0)

biasunlearn measure "$MODEL" "${measured[@]}" --out "$OUT/base-unread"
for seed in ${SEEDS:-0 1 2}; do
    run="$OUT/ordinary-$seed"
    if [ ! -e "$run/results.json" ]; then
        biasunlearn debias "$MODEL" --train "$DATA/stereoset/train_pairs.jsonl" --report "$TUNING" --seed "$seed" \
            --unrelated "$DATA/stereoset/test_intrasentence_partial.json" --unrelated "$ORDINARY" \
            --limit 20 --replacements 0 --set stop_items=150 --out "$run"
    fi
    biasunlearn measure "$MODEL" --adapter "$run/adapter" "${measured[@]}" --out "$run-unread"
    biasunlearn compare "$OUT/base-unread" "$run-unread" --out "$run-unread-compared"
done
