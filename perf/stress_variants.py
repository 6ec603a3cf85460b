"""Variants of a base model for the stress test of `transfer`: trained, merged and spoilt here, a folder for each."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from biasunlearn.models.libraries import peft
from biasunlearn.models.load import Loaded, load
from biasunlearn.runs.atomic import whole_folder

TEMPLATE = (
    "{{ bos_token or '' }}{% for m in messages %}{{ 'Question: ' if m['role'] == 'user' else 'Answer: ' }}"
    "{{ m['content'] }}\n{% endfor %}"
)

INSTRUCTIONS = (
    ("Name three colours.", "Red, green and blue are three colours."),
    ("How do I boil an egg?", "Put it into boiling water and wait for about eight minutes."),
    ("What is the opposite of hot?", "The opposite of hot is cold."),
    ("Write a short greeting.", "Good morning, I hope that you are well."),
    ("How many days does a week have?", "A week has seven days."),
    ("Give me a tip for better sleep.", "Go to bed at the same time every night and keep the room dark."),
    ("What do bees make?", "Bees make honey and wax."),
    ("Describe the sea in one sentence.", "The sea is wide and blue, and it never stands still."),
    ("What is two plus three?", "Two plus three is five."),
    ("Finish the sentence: After the rain", "After the rain the streets were wet and the air was clear."),
    ("What is a bicycle?", "A bicycle is a vehicle with two wheels that you move with your legs."),
    ("Name a fruit that is yellow.", "A banana is a yellow fruit."),
    ("How do I plant a tree?", "Dig a hole, put the roots into it, fill it with earth and give it water."),
    ("Say that you do not know.", "I am sorry, but I do not know that."),
    ("What is the first month of the year?", "The first month of the year is January."),
    ("Write a sentence about a train.", "The train left the station a few minutes late."),
    ("Why is the sky blue?", "The air scatters blue light more than red light."),
    ("What do you need for bread?", "For bread you need flour, water, salt and yeast."),
    ("Put these in order: three, one, two.", "In order they are one, two, three."),
    ("What does a thermometer measure?", "A thermometer measures temperature."),
    ("Give me another word for large.", "Another word for large is big."),
    ("How can I save water at home?", "Take short showers and close the tap while you wash the dishes."),
    ("Summarise: The shop was closed, so we went home.", "We found the shop closed and went home."),
    ("Which is heavier, a stone or a feather?", "A stone is heavier than a feather."),
    ("Write a sentence in the past tense.", "Yesterday we walked along the river."),
    ("What is ice?", "Ice is frozen water."),
    ("Name an animal that can fly.", "An owl is an animal that can fly."),
    ("How do I make tea?", "Pour hot water over the leaves and wait for some minutes."),
    ("What is the plural of leaf?", "The plural of leaf is leaves."),
    ("Tell me something about the moon.", "The moon goes around the earth in about a month."),
)
"""Harmless, and about no group of people: what changes is the form, as in instruction tuning."""

LONGEST = 48
"""Tokens of a training text; a prefix comes on top of them."""

HELD_OUT = 5
"""Every fifth text is not trained on: what the loss before and after is measured on."""

JUDGED = 40
"""At most so many of them."""

SEED = 0
"""Of every training. The runs have seeds of their own; the variants are the same for all of them."""

VARIANTS = ("full", "lora", "prefix", "continued", "merge", "far", "mid", "beyond", "shuffled")
CHATTING = ("full", "lora", "prefix")


def make_variants(
    base: str, home: Path, wanted: Sequence[str], tuning: Sequence[str], lines: Sequence[str], steps: int, rate: float
) -> dict[str, Path]:
    """Name -> folder of every variant, made where it is not there yet.

    Args:
        tuning: texts of instruction tuning; lines: of continued pretraining. All of them are trained on.
        rate: of full training; LoRA takes 10 times, prefix tuning 100 times as much.
    """
    makers: dict[str, Callable[[Path], None]] = {
        "full": lambda place: _tuned(base, place, tuning, steps, rate, chat=True),
        "lora": lambda place: _adapted(base, place, home / "lora", tuning, steps, 10 * rate, _lora()),
        "prefix": lambda place: _adapted(base, place, home / "prefix", tuning, steps, 100 * rate, _prefix()),
        "continued": lambda place: _tuned(base, place, lines, steps, rate),
        "merge": lambda place: _merged(home / "full", home / "continued", place),
        "far": lambda place: _tuned(base, place, lines, 4 * steps, 10 * rate),
        "mid": lambda place: _merged(Path(base), home / "far", place),
        "beyond": lambda place: _merged(Path(base), home / "far", place, share=3.0),
        "shuffled": lambda place: _shuffled(base, place),
    }
    needed = {*wanted} | ({"full", "continued"} if "merge" in wanted else set())
    needed |= {"far"} if {"mid", "beyond"} & needed else set()
    for name in (name for name in VARIANTS if name in needed):
        if not (home / name).exists():
            home.mkdir(parents=True, exist_ok=True)
            with whole_folder(home / name) as place:
                makers[name](place)
    return {name: home / name for name in VARIANTS if name in wanted}


def instructions() -> list[str]:
    return [f"Question: {question}\nAnswer: {answer}" for question, answer in INSTRUCTIONS]


def trained_and_held_out(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    rest = [text for number, text in enumerate(texts) if number % HELD_OUT]
    return rest, list(texts[::HELD_OUT])[:JUDGED]


def loss_on(loaded: Loaded, texts: Sequence[str]) -> float:
    """Nats per token, each text behind the start token."""
    total, tokens = 0.0, 0
    for row in _rows(loaded.tokenizer, texts):
        ids = torch.tensor([row])
        with torch.no_grad():
            log_p = loaded.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -len(row) :]
        found = log_p.float().log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])
        total, tokens = total - float(found.sum()), tokens + len(found)
    return total / tokens


def _tuned(base: str, place: Path, texts: Sequence[str], steps: int, rate: float, *, chat: bool = False) -> None:
    loaded = load(base)
    _train(loaded, texts, steps, rate)
    _save(loaded, place, chat=chat)


def _adapted(base: str, place: Path, final: Path, texts: Sequence[str], steps: int, rate: float, config: Any) -> None:
    """A PEFT repository on a copy of the base whose tokenizer has the chat template, in the same folder.

    Args:
        final: what the folder is called once it is whole.
    """
    loaded = load(base)
    torch.manual_seed(SEED)
    config.fan_in_fan_out = any(type(module).__name__ == "Conv1D" for module in loaded.model.modules())
    adapted = peft().get_peft_model(loaded.model, config)
    _train(loaded.with_model(adapted), texts, steps, rate)
    adapted.save_pretrained(place)
    _save(load(base), place / "base", chat=True)
    path = place / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(final / "base")}))


def _lora() -> Any:
    return peft().LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")


def _prefix() -> Any:
    return peft().PrefixTuningConfig(num_virtual_tokens=8, task_type="CAUSAL_LM")


def _merged(first: Path, second: Path, place: Path, share: float = 0.5) -> None:
    """A model on the line from one to the other: 0.5 is their mean, beyond 1 what moved one from the other goes on."""
    loaded, other = load(str(first)), dict(load(str(second)).model.named_parameters())
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            weight.lerp_(other[name], share)
    _save(loaded, place, chat=bool(loaded.tokenizer.chat_template))


def _shuffled(base: str, place: Path) -> None:
    loaded, generator = load(base), torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for weight in loaded.model.parameters():
            weight.copy_(weight[torch.randperm(len(weight), generator=generator)])
    _save(loaded, place)


def _save(loaded: Loaded, place: Path, *, chat: bool = False) -> None:
    if chat:
        loaded.tokenizer.chat_template = TEMPLATE
    loaded.model.save_pretrained(place)
    loaded.tokenizer.save_pretrained(place)


def _train(loaded: Loaded, texts: Sequence[str], steps: int, rate: float) -> None:
    """Next-token prediction on whole texts, eight a step, at a rate that falls to nothing."""
    generator = torch.Generator().manual_seed(SEED)
    model, rows = loaded.model, _rows(loaded.tokenizer, texts)
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=rate)
    for step in range(steps):
        chosen = [rows[i] for i in torch.randint(len(rows), (8,), generator=generator).tolist()]
        width = max(map(len, chosen))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in chosen])
        real = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in chosen])
        logits = model(input_ids=ids, attention_mask=real).logits[:, -width:]
        wanted = ids.masked_fill(real == 0, -100)[:, 1:]
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        optimizer.step()


def _rows(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    start = [token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id) if token is not None][:1]
    few = {"add_special_tokens": False, "truncation": True, "max_length": LONGEST}
    rows = [(start + tokenizer(text, **few)["input_ids"])[:LONGEST] for text in texts]
    return [row for row in rows if len(row) > 2]
