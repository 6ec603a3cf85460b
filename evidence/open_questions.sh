#!/usr/bin/env bash
# The runs behind docs/questions.md and docs/methods_results.md, one part at a time: PART is rates, objective, erasure,
# disentangle, transfer, cognitive or survey. DATA is a folder with the data sets, TUNING the tuning half that split_dev.py
# writes, SMALL and MASKED a causal and a masked model of 16 M parameters, LARGER one of 135 M, OUT a folder. Batches,
# steps and items are fewer than in the default recipe, so that all of it fits into a few hours of two processor cores.
set -euo pipefail
PART=$1 DATA=$2 TUNING=$3 SMALL=$4 MASKED=$5 LARGER=$6 OUT=$7
mkdir -p "$OUT"
training=(--train "$DATA/stereoset/train_pairs.jsonl" --unrelated "$DATA/stereoset/test_intrasentence_partial.json"
    --report "$TUNING")
text="$OUT/text.txt"
head -n 400 "$DATA/text/wikitext2_valid_clean_sentences.txt" >"$text"
small_batches=(--set forget_batch=8 --set retain_batch=8 --set unrelated_batch=4 --set context_batch=2 --set guard_batch=2)
evaluations=(--set evaluate_every=20 --set first_evaluation=20)

case $PART in
rates) # learning rates of methods, by the stop split: nothing of the report is read
    for method in wga satimp undial ceu pdu rmu biasedit; do
        for rate in 2e-4 5e-4 1e-3; do
            biasunlearn debias "$SMALL" "${training[@]}" --limit 20 --replacements 0 --seed 0 --method "$method" \
                --set "learning_rate=$rate" --set max_steps=60 --set stop_items=250 "${evaluations[@]}" \
                --out "$OUT/rates/$method-$rate"
        done
    done
    ;;
objective)
    biasunlearn study objective "$SMALL" "$MASKED" "${training[@]}" --benchmark "perplexity=$text" --seeds 0 1 2 \
        --limit 300 --replacements 2 --set max_steps=60 --set stop_items=60 --set forget_batch=12 --set retain_batch=12 \
        --set unrelated_batch=6 --set context_batch=2 --set guard_batch=2 "${evaluations[@]}" --layers 3 6 \
        --out "$OUT/objective"
    ;;
erasure)
    biasunlearn disentangle "$SMALL" --train "$DATA/stereoset/train_pairs.jsonl" --report "$TUNING" --erase --limit 500 \
        --seed 0 --out "$OUT/erasure"
    ;;
disentangle) # a weight of 1e-6 is the control: the same computation without the penalty
    for weight in 1e-6 10; do
        biasunlearn disentangle "$SMALL" "${training[@]}" --set method=biasunlearn_orthogonal \
            --set "orthogonal_weight=$weight" --set max_steps=60 --set stop_items=100 --set evaluate_every=30 \
            --set first_evaluation=30 --limit 400 --seeds ${SEEDS:-0 1 2} --out "$OUT/disentangle-$weight"
    done
    ;;
transfer) # RUNS: debias runs on LARGER; the variants are made here
    python - "$LARGER" "$OUT/variants" <<'PY'
import sys
from pathlib import Path

sys.path.insert(0, "perf")
from stress_variants import instructions, make_variants, trained_and_held_out

texts = trained_and_held_out(instructions())[0]
make_variants(sys.argv[1], Path(sys.argv[2]), ("full", "lora", "shuffled"), texts, (), 80, 5e-5)
PY
    measured=(--report "$TUNING" --limit 300 --replacements 2 --scale 1)
    for run in $RUNS; do
        for variant in "$LARGER" full lora; do
            to="$OUT/variants/$variant"
            if [ "$variant" = "$LARGER" ]; then to=$LARGER; fi
            for chat in "" --chat-template; do
                biasunlearn transfer "$run" --to "$to" "${measured[@]}" $chat \
                    --out "$OUT/transfer/$(basename "$run")-$(basename "$to")$chat"
            done
        done
        biasunlearn transfer "$run" --to "$OUT/variants/shuffled" --force "${measured[@]}" \
            --out "$OUT/transfer/$(basename "$run")-shuffled"
    done
    ;;
cognitive)
    measured=(--limit 300)
    for bias in belief_bias certainty_effect decoy_effect; do
        measured+=(--benchmark "$bias=$DATA/instructed_to_bias")
    done
    python evidence/cognitive_insertions.py "$DATA/cognitive_malberg" "$OUT/templates"
    measured+=(--benchmark "cognitive_tests=$OUT/templates")
    biasunlearn measure "$LARGER" "${measured[@]}" --chat-template --out "$OUT/cognitive-before"
    biasunlearn debias "$LARGER" --bias belief --chat-template --seed 0 --set max_steps=60 "${small_batches[@]}" \
        "${evaluations[@]}" --out "$OUT/cognitive-belief"
    biasunlearn measure "$LARGER" "${measured[@]}" --chat-template --adapter "$OUT/cognitive-belief/adapter" \
        --out "$OUT/cognitive-after"
    ;;
survey) # the KL term of every method has ordinary text for half of its sentences: not those that perplexity is measured on
    tail -n +401 "$DATA/text/wikitext2_valid_clean_sentences.txt" >"$OUT/ordinary.txt"
    head -n 200 "$text" >"$OUT/measured.txt"
    every=$(python -c 'from biasunlearn.commands.survey import METHODS; print(*METHODS)')
    biasunlearn survey "$LARGER" "${training[@]}" --unrelated "$OUT/ordinary.txt" --limit 100 --replacements 2 \
        --methods ${METHODS:-${every/biasunlearn_orthogonal /}} --seeds ${SEEDS:-0 1 2} \
        --text "$DATA/text/wikitext2_test_clean_sentences.txt" --benchmark "perplexity=$OUT/measured.txt" \
        --benchmark "crows_pairs=$DATA/crows_pairs/crows_pairs_anonymized.csv" --benchmark "winobias=$DATA/winobias" \
        --set max_steps=60 --set stop_items=40 "${small_batches[@]}" --set evaluate_every=30 --set first_evaluation=30 \
        --out "$OUT/survey"
    ;;
*) echo "unknown part: $PART" >&2 && exit 2 ;;
esac
