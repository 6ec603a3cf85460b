"""Names that vulture takes for dead code although somebody reads them."""

process_results  # called by lm-eval, for the tasks of benchmarks/lm_eval_bbq.py and lm_eval_stereoset.py
_.pre_tokenizer  # read by tokenizers.Tokenizer (data/toy_world.py)
__dir__  # called by dir(biasunlearn) and by tab completion
_.to_pandas  # of Results: for users
_.to_markdown
_.plot
_._repr_html_  # called by notebooks
_.model_config  # read by pydantic

# Fields of the stored results (runs/): pydantic reads and writes them, and they are part of the shipped schema.
_.attempts
_.by_chance_last
_.chance_direction
_.chance_subspace
_.divisions
_.divisions_last
_.forced
_.frames
_.generation
_.identical
_.lr
_.margin_group
_.margin_ratio
_.margin_wording
_.mean_abs_margin
_.mean_margin
_.memory_of
_.neither
_.overlap_with_report
_.p_mcnemar
_.schema_version
_.shared_with_report
_.shots
_.ss_group
_.ss_micro
_.ss_micro_high
_.ss_micro_low
_.stopped_on_report
_.subgroups
_.texts_cut
_.trained_model
_.unseen_wording
_.without_target_term
_.worst_frame

# Statistics that are tested but that no command calls yet: take each line away when it is called.
replacements  # data/referents.py
margin_parts  # stats/association.py
by_bias_type  # stats/association.py
is_polarised  # stats/polarisation.py
_.headline  # stats/verdict.py
rogan_gladen  # stats/judging.py
corrected_share  # stats/judging.py

write_json_schema  # make schema
_.rank_pattern  # a key of adapter_config.json

_.formatwarning  # called by the module warnings
