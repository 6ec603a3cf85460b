"""Names that vulture takes for dead code although somebody reads them."""

process_results  # called by lm-eval, for the tasks of benchmarks/lm_eval_bbq.py and lm_eval_stereoset.py
low
high
_.pre_tokenizer  # read by tokenizers.Tokenizer (data/toy_world.py)
__dir__  # called by dir(biasunlearn) and by tab completion
_.to_pandas  # of Results: for users
_.to_markdown
_.plot
_._repr_html_  # called by notebooks
_.model_config  # read by pydantic

# unlearn/hf_trainer: called by transformers.Trainer, or for users
BiasUnlearnTrainer
_.loss_is_scaled_for_ga
_.get_train_dataloader
_.compute_loss
_.create_scheduler
_.predict
_.on_train_begin
_.on_step_end
_.on_evaluate
_.on_save
_.on_train_end
_.outcome
_._created_lr_scheduler
_.ignore_data_skip
_.label_names
_.should_training_stop
_.should_save
warmup_steps
eval_strategy
eval_steps
logging_steps
remove_unused_columns
num_items_in_batch
ignore_keys
test_dataset
preference_dataset  # data/preferences.py

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
