"""Tiny random models and tokenizers, built in memory: every family that the tests run on, and no network.

The weights are drawn wide (a spread of 0.3 instead of the usual 0.02), so that the logits of two positions differ
by whole nats: a test that reads a wrong position or an unmasked pad fails, instead of passing within tolerance.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from biasunlearn.models.load import Loaded

transformers.utils.logging.disable_progress_bar()  # of a saved model; what a command prints is tested
TEXTS = (
    "The nurse said that she was tired.",
    "The nurse said that he was tired.",
    "My neighbour is a poet, and my neighbour is kind.",
    "Green ideas sleep furiously on the table.",
    "They moved to the town last year and never left again, as far as anybody knows.",
    "It rains.",
    "The poet is quiet; the nurse is loud.",
    "A doctor came to the house.",
)
"""What the tokenizers learn their merges from, and what tests score."""

VOCABULARY = 290
WIDTH = 32
LONGEST = 64
SPREAD = 0.3


def byte_level(
    *, bos: bool = True, eos: bool = True, pad: bool = True, prefix_space: bool = False, extra: int = 0
) -> PreTrainedTokenizerFast:
    """GPT-style: bytes, a word's space belongs to its token. `extra` adds tokens beyond the models' vocabulary."""
    special = {"bos_token": "<s>"} if bos else {}
    special |= {"eos_token": "</s>"} if eos else {}
    special |= {"pad_token": "<pad>"} if pad else {}
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.ByteLevel(trim_offsets=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _train(core, trainers.BpeTrainer, list(special.values()), initial_alphabet=alphabet)
    core.add_tokens([f"<extra-{number}>" for number in range(extra)])
    return PreTrainedTokenizerFast(tokenizer_object=core, **special)


def metaspace() -> PreTrainedTokenizerFast:
    """Llama-style: the space is a visible mark in front of the word, also before the first; adds BOS on its own."""
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
    core.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="first")
    _train(core, trainers.BpeTrainer, ["<unk>", "<s>", "</s>"])
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", core.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def word_piece() -> PreTrainedTokenizerFast:
    """BERT-style: lower case, pieces of words, no spaces; frames a text as [CLS] text [SEP]."""
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    _train(core, trainers.WordPieceTrainer, special)
    frame = [(token, core.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    core.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=frame)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def _train(core: Tokenizer, trainer: Callable[..., Any], special: list[str], **options: Any) -> None:
    tokens = [AddedToken(token, special=True, normalized=False) for token in special]
    core.train_from_iterator(
        TEXTS, trainer(vocab_size=VOCABULARY - 5, special_tokens=tokens, show_progress=False, **options)
    )


def gpt2(tokenizer: Any = None, *, seed: int = 0, **changes: Any) -> Loaded:
    """The family that most tests run on; `changes` go into its configuration."""
    return _build(transformers.GPT2LMHeadModel, _gpt2_config(**changes), tokenizer or byte_level(), seed)


def causal(family: str, tokenizer: Any = None, *, seed: int = 0) -> Loaded:
    """A tiny causal model of one of `FAMILIES`."""
    model, config, its_tokenizer = FAMILIES[family]()
    return _build(model, config, tokenizer or its_tokenizer, seed)


def masked(*, seed: int = 0, **changes: Any) -> Loaded:
    """A tiny BertForMaskedLM."""
    config = transformers.BertConfig(**{**_BERT, **changes})
    return _build(transformers.BertForMaskedLM, config, word_piece(), seed, masked=True)


def masked_roberta(*, seed: int = 0, **changes: Any) -> Loaded:
    """A tiny RobertaForMaskedLM: its positions begin behind the id of its pad."""
    config = transformers.RobertaConfig(**{**_BERT, "pad_token_id": 1, **_NO_ENDS, **changes})
    return _build(transformers.RobertaForMaskedLM, config, word_piece(), seed, masked=True)


def masked_modernbert(*, seed: int = 0, **changes: Any) -> Loaded:
    """A tiny ModernBertForMaskedLM: rotary positions, gated layers, a local window in every layer but the first."""
    values = {**_SHAPE, "local_attention": 8, "global_attn_every_n_layers": 2, "pad_token_id": 0, **_NO_ENDS}
    values |= {"cls_token_id": 2, "sep_token_id": 3, "reference_compile": False, "initializer_cutoff_factor": 9.0}
    config = transformers.ModernBertConfig(**{**values, **changes})
    return _build(transformers.ModernBertForMaskedLM, config, word_piece(), seed, masked=True)


def modernbert_decoder(*, seed: int = 0) -> Loaded:
    """A tiny ModernBertDecoderForCausalLM: the causal half of the pairs of Ettin."""
    ends = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
    values = {**_SHAPE, "local_attention": 8, "global_attn_every_n_layers": 2, "initializer_cutoff_factor": 9.0, **ends}
    config = transformers.ModernBertDecoderConfig(**values)
    return _build(transformers.ModernBertDecoderForCausalLM, config, word_piece(), seed)


MASKED: dict[str, Callable[..., Loaded]] = {
    "bert": masked, "roberta": masked_roberta, "modernbert": masked_modernbert
}
"""Shape -> a tiny masked model of it."""


def save(loaded: Loaded, folder: Path) -> str:
    """Writes a model and its tokenizer as transformers does; returns the folder's name."""
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return str(folder)


def perturb(model: torch.nn.Module, *, seed: int = 1, spread: float = 0.05) -> None:
    """Moves every trainable weight at random: an adapter that does something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(spread * torch.randn(parameter.shape, generator=generator))


def _build(kind: Any, config: Any, tokenizer: Any, seed: int, *, masked: bool = False) -> Loaded:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config)
        # Biases and gains begin at 0 and 1; drawn instead, so that one left out shows in the logits.
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.data += 0.1 * torch.randn_like(parameter)
    return Loaded(model.eval(), tokenizer, masked)


_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": LONGEST,
    "initializer_range": SPREAD,
}
_NO_ENDS: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None}
_NO_SPECIAL: dict[str, Any] = {**_NO_ENDS, "pad_token_id": None}
_GROUPED = {**_SHAPE, "num_key_value_heads": 2, "head_dim": 8, **_NO_SPECIAL}
_BERT = {**_SHAPE, "pad_token_id": 0, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}


def _gpt2_config(**changes: Any) -> Any:
    values = {"vocab_size": VOCABULARY, "n_positions": LONGEST, "n_embd": WIDTH, "n_layer": 2, "n_head": 4}
    return transformers.GPT2Config(**{**values, "initializer_range": SPREAD, **_NO_SPECIAL, **changes})


def _gpt2() -> tuple[Any, Any, Any]:
    return transformers.GPT2LMHeadModel, _gpt2_config(), byte_level()


def _opt() -> tuple[Any, Any, Any]:
    config = transformers.OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        word_embed_proj_dim=WIDTH // 2,
        ffn_dim=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LONGEST,
        init_std=SPREAD,
        do_layer_norm_before=True,
        **_NO_SPECIAL,
    )
    return transformers.OPTForCausalLM, config, byte_level()


def _neox() -> tuple[Any, Any, Any]:
    config = transformers.GPTNeoXConfig(**_SHAPE, **_NO_SPECIAL)
    return transformers.GPTNeoXForCausalLM, config, byte_level(bos=False)


def _llama() -> tuple[Any, Any, Any]:
    return transformers.LlamaForCausalLM, transformers.LlamaConfig(**_GROUPED), metaspace()


def _mistral() -> tuple[Any, Any, Any]:
    config = transformers.MistralConfig(**_GROUPED, sliding_window=8)
    return transformers.MistralForCausalLM, config, metaspace()


def _qwen3() -> tuple[Any, Any, Any]:
    config = transformers.Qwen3Config(**_GROUPED, tie_word_embeddings=True)
    return transformers.Qwen3ForCausalLM, config, byte_level(bos=False)


def _gemma2() -> tuple[Any, Any, Any]:
    config = transformers.Gemma2Config(
        **_GROUPED,
        query_pre_attn_scalar=8,
        sliding_window=8,
        final_logit_softcapping=3.0,
        attn_logit_softcapping=2.0,
    )
    return transformers.Gemma2ForCausalLM, config, metaspace()


def _gemma3() -> tuple[Any, Any, Any]:
    """One layer with a sliding window and one with the whole row, as in the published models five to one."""
    config = transformers.Gemma3TextConfig(
        **_GROUPED,
        query_pre_attn_scalar=8,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
    )
    return transformers.Gemma3ForCausalLM, config, metaspace()


def _phi() -> tuple[Any, Any, Any]:
    config = transformers.PhiConfig(**_SHAPE, **_NO_SPECIAL)
    return transformers.PhiForCausalLM, config, byte_level(prefix_space=True)


def _bert_decoder() -> tuple[Any, Any, Any]:
    return transformers.BertLMHeadModel, transformers.BertConfig(**_BERT, is_decoder=True), word_piece()


FAMILIES: dict[str, Callable[[], tuple[Any, Any, Any]]] = {
    "gpt2": _gpt2,
    "opt": _opt,
    "gpt-neox": _neox,
    "llama": _llama,
    "mistral": _mistral,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "phi": _phi,
    "bert-decoder": _bert_decoder,
}
"""Family -> (model class, configuration, a tokenizer of the kind that it has)."""
