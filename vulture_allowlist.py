"""Names that vulture takes for dead code although somebody outside this package uses them."""

process_results  # called by lm-eval, for the tasks of benchmarks/lm_eval_bbq.py and lm_eval_stereoset.py
_.pre_tokenizer  # read by tokenizers.Tokenizer (data/toy_world.py)

# Dead code that is being removed: take these two lines away with it.
PAIRS  # benchmarks/controls.py
npo_at_reference  # unlearn/losses.py
