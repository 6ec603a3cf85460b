"""`make bench`: scoring and training steps, ours beside the plain loop and beside the arithmetic they need.

Every figure is taken in a process of its own, so that peak memory is that of one loop on one model; ours and the plain
loop take turns, so that whatever else the machine does falls on both. The floor is the time that the real tokens'
multiplications take at the matrix rate measured in the same process: 2N a token forward, 2N more for the gradients of
activations (LoRA needs none of the weights'), and the output layer where logits count. What the reference says is not
part of it, since it could be known. `first`: steps whose sentences the reference has not seen yet; `later`: all seen.
Tokens that several sentences share are counted once for scoring. `share` is floor / ours. The line below it gives the
share of other floors: at the rate of the faster of torch's two libraries (`@` asks MKL, ours oneDNN); with every token
that sentences of a step share counted once as well, the start token too; and, the other way, with what the reference
must read.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

SHAPES = {"gpt2-small": (12, 768, 12), "gpt2-medium": (24, 1024, 16)}
"""GPT-2: layers, width, heads; random weights."""

GEMMA = "gemma3-270m"
"""Gemma 3 with 270 million weights, 168 of them in a vocabulary of 262,144; random weights."""

ROLES = {"forget": 4, "retain": 28, "unrelated": 28}
"""Sentences of a step, as in the released code."""

MEASURED = {"scoring": ("ms/sentence", 1000), "first": ("s/step", 1), "later": ("s/step", 1)}
"""What is measured, its unit, and how many of it a second is."""


def main() -> None:
    arguments = _arguments()
    if arguments.worker:
        print(json.dumps(_measure(arguments)))
        return
    clock = "processor seconds" if arguments.cpu_time else "seconds"
    load = f"load {os.getloadavg()[0]:.1f}"
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, threads: {arguments.threads}, float32, {clock}, {load}")
    if arguments.fewer > 1:
        rows = {role: size // arguments.fewer for role, size in ROLES.items()}
        print(f"plain step: measured on {rows}, its time multiplied by {arguments.fewer}, its memory as measured")
    header = f"{'model':<14}{'what':<9}{'ours':>8}{'spread':>8}{'plain':>10}{'ratio':>7}{'floor':>9}{'share':>7}"
    print(f"{header}{'memory':>10}{'plain':>10}{'ratio':>7}", flush=True)
    for model in arguments.models:
        for kind in ("scoring", "step"):
            ours, plain = [], []
            for run in range(arguments.runs):
                ours.append(_worker(arguments, kind, model, "ours"))
                if run < arguments.plain_runs:
                    plain.append(_worker(arguments, kind, model, "plain"))
            for what in ("scoring",) if kind == "scoring" else ("first", "later"):
                _show(Path(model).name, what, ours, plain)


def _show(model: str, what: str, ours: list[dict[str, float]], plain: list[dict[str, float]]) -> None:
    unit, scale = MEASURED[what]
    seconds = [run[what] for run in ours]
    middle, spread = statistics.median(seconds), (max(seconds) - min(seconds)) / 2
    beside = statistics.median(run["plain"] for run in plain)
    shares = [run["operations"] / run["rate"] / run[what] for run in ours]
    floor = statistics.median(run["operations"] / run["rate"] for run in ours)
    memory, theirs = (max(run["memory"] for run in runs) / 2**30 for runs in (ours, plain))
    print(
        f"{model:<14}{what:<9}{middle * scale:>8.2f}{'±' + format(spread * scale, '.2f'):>8}{beside * scale:>10.2f}"
        f"{beside / middle:>7.1f}{floor * scale:>9.2f}{statistics.median(shares):>7.0%}"
        f"{memory:>8.2f} G{theirs:>8.2f} G{memory / theirs:>7.2f}   {unit}",
        flush=True,
    )
    others = [
        ("at the faster library's rate", "operations", "best_rate"),
        ("and shared tokens once", "operations_once", "best_rate"),
        ("with the reference's reading", f"operations_{what}", "rate"),
    ]
    told = [
        f"{name} {statistics.median(run[count] / run[rate] / run[what] for run in ours):.0%}"
        for name, count, rate in others
        if count in ours[0]
    ]
    print(f"{'':<14}{'; '.join(told)}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    shapes = ", ".join([*SHAPES, GEMMA])
    parser.add_argument("--models", nargs="+", default=["gpt2-small"], help=f"{shapes}, or folders of models")
    parser.add_argument("--stereoset", help="official StereoSet JSON; else sentences are made, of the same lengths")
    parser.add_argument("--runs", type=int, default=3, help="runs of ours; the median and the spread are shown")
    parser.add_argument("--steps", type=int, default=4, help="training steps of ours that are timed")
    parser.add_argument("--part", type=float, default=1, help="share of the clusters that ours scores")
    parser.add_argument("--sample", type=float, default=0.1, help="share of the sentences that the plain loop scores")
    parser.add_argument("--plain-runs", type=int, default=1, help="runs of the plain loop, between ours")
    parser.add_argument("--fewer", type=int, default=1, help="the plain step reads so many times fewer sentences")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="processor time of one thread: for a busy machine")
    parser.add_argument("--quick", action="store_true", help="one run, few sentences")
    for hidden in ("--worker", "--model", "--side"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.runs, arguments.steps, arguments.sample = 1, 2, 0.02
    if arguments.cpu_time:
        arguments.threads, arguments.part = 1, min(arguments.part, 0.2)
    return arguments


def _worker(arguments: argparse.Namespace, what: str, model: str, side: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", what, "--model", model, "--side", side]
    command += ["--steps", str(arguments.steps), "--sample", str(arguments.sample), "--threads", str(arguments.threads)]
    command += ["--stereoset", arguments.stereoset] if arguments.stereoset else []
    command += ["--fewer", str(arguments.fewer), "--part", str(arguments.part)]
    command += [option for option in ("--quick", "--cpu-time") if getattr(arguments, option[2:].replace("-", "_"))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    clock = time.process_time if arguments.cpu_time else time.perf_counter

    def seconds(work: Callable[[], Any]) -> float:
        begun = clock()
        work()
        return clock() - begun

    clusters = _clusters(arguments.stereoset)
    loaded = _model(arguments.model, clusters, arguments.side)
    before, before_there = _matrix_rate(seconds), _other_rate(seconds)
    measured = {
        ("scoring", "ours"): _score_ours, ("scoring", "plain"): _score_plain,
        ("step", "ours"): _step_ours, ("step", "plain"): _step_plain,
    }[arguments.worker, arguments.side](loaded, clusters, arguments, seconds)  # fmt: skip
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rate, there = max(before, _matrix_rate(seconds)), max(before_there, _other_rate(seconds))
    return measured | {"memory": memory, "rate": rate, "best_rate": max(rate, there)}


Timer = Callable[[Callable[[], Any]], float]


def _matrix_rate(seconds: Timer) -> float:
    """Operations a second of the best of several large float32 products."""
    import torch

    left, right = torch.randn(2048, 1024), torch.randn(1024, 4096)
    return 2 * 2048 * 1024 * 4096 / min(seconds(lambda: left @ right) for _ in range(10))


def _other_rate(seconds: Timer) -> float:
    """The same of oneDNN; 0 where this torch does not have it."""
    import torch

    from biasunlearn.models.cpu_kernels import Products, available

    if not available():
        return 0.0
    left, right = torch.randn(2048, 1024), torch.randn(4096, 1024)
    with Products(), torch.no_grad():
        return 2 * 2048 * 1024 * 4096 / min(seconds(lambda: torch.nn.functional.linear(left, right)) for _ in range(10))


@dataclass(frozen=True)
class Size:
    """What an operation count needs to know of a model."""

    body: int
    """Weights that every token is multiplied with."""
    head: int
    """Weights of the output layer."""


def _size(model: Any) -> Size:
    head = model.get_output_embeddings().weight
    tables = {id(model.get_input_embeddings().weight), id(head)}
    body = sum(_weights(p) for p in model.parameters() if p.dim() == 2 and id(p) not in tables)
    places = [p for name, p in model.named_parameters() if "wpe" in name or "position_embeddings" in name]
    return Size(body - sum(p.numel() for p in places), head.numel())


def _weights(parameter: Any) -> int:
    """The number of weights, of which bitsandbytes packs two of 4 bits into a byte."""
    return parameter.numel() * (2 if type(parameter).__name__ == "Params4bit" else 1)


# --- scoring ----------------------------------------------------------------------------------------------------------


def _score_ours(
    loaded: Any, clusters: Sequence[Any], arguments: argparse.Namespace, seconds: Timer
) -> dict[str, float]:
    from biasunlearn.models.batches import encode
    from biasunlearn.models.prefix_sharing import groups
    from biasunlearn.scoring.log_prob import score

    passages = _passages(clusters)
    score(loaded, passages[:60])
    if arguments.part < 1:
        passages = _passages(random.Random(0).sample(clusters, max(60, int(arguments.part * len(clusters)))))
    spent = seconds(lambda: score(loaded, passages))
    rows = encode(loaded.tokenizer, passages)
    unique = sum(group.length for group in groups(rows))
    size = _size(loaded.model)
    # Every token but a start token is predicted once, so the output layer sees about as many as the body.
    operations = 2 * (size.body + size.head) * unique
    return {"scoring": spent / len(passages), "operations": operations / len(passages)}


def _score_plain(
    loaded: Any, clusters: Sequence[Any], arguments: argparse.Namespace, seconds: Timer
) -> dict[str, float]:
    from plain_loop import score_one_by_one

    rows = _sentences(loaded, _passages(clusters))
    chosen = random.Random(0).sample(rows, max(20, int(arguments.sample * len(rows))))
    score_one_by_one(loaded.model, chosen[:5])
    return {"plain": seconds(lambda: score_one_by_one(loaded.model, chosen)) / len(chosen)}


# --- training steps -----------------------------------------------------------------------------------------------


def _step_ours(loaded: Any, clusters: Sequence[Any], arguments: argparse.Namespace, seconds: Timer) -> dict[str, float]:
    import torch

    from biasunlearn.config import DebiasConfig
    from biasunlearn.models.adapters import trainable, with_lora
    from biasunlearn.models.batches import encode
    from biasunlearn.models.packed_forward import RowCache
    from biasunlearn.models.prefix_sharing import groups, opening
    from biasunlearn.unlearn.reference import ReferenceStore, stored_reference
    from biasunlearn.unlearn.sampler import StepBatch
    from biasunlearn.unlearn.trainer import loss_terms

    size, config = _size(loaded.model), DebiasConfig()
    model = with_lora(loaded.model, config)
    optimizer = torch.optim.AdamW(list(trainable(model).values()), lr=1e-4)
    cache = RowCache(loaded.tokenizer, model)
    refer = stored_reference(model, cache, ReferenceStore())

    def step(roles: dict[str, tuple[Any, ...]]) -> None:
        ones = {role: (1.0,) * len(passages) for role, passages in roles.items()}
        batch = StepBatch(roles["forget"], roles["retain"], roles["unrelated"], ones["forget"], ones["retain"])
        loss_terms(model, cache, batch, config, refer).total(config).backward()
        optimizer.step()
        optimizer.zero_grad()

    def operations(roles: dict[str, tuple[Any, ...]], *, once: bool = False, reference: bool = False) -> int:
        rows = [row for role in roles for row in encode(loaded.tokenizer, roles[role])]
        tokens, shared = sum(len(row.ids) for row in rows), opening(rows)
        if once:
            tokens = shared + sum(group.length - shared for group in groups(list(dict.fromkeys(rows))))
        # 4 = forward and the gradients of activations, two operations each
        needed = 4 * (size.body * tokens + size.head * sum(row.scored for row in rows))
        asked = [row for role in ("forget", "unrelated") for row in encode(loaded.tokenizer, roles[role])]
        seen = size.body * sum(len(row.ids) for row in asked) + size.head * sum(row.scored for row in asked)
        return needed + 2 * seen * reference

    step(_roles(clusters, arguments.steps))
    steps = [_roles(clusters, number) for number in range(arguments.steps)]
    first = [seconds(partial(step, roles)) for roles in steps]
    later = [seconds(partial(step, roles)) for roles in steps]
    middle = statistics.median
    return {
        "first": middle(first),
        "later": middle(later),
        "operations": middle(map(operations, steps)),
        "operations_once": middle(operations(roles, once=True) for roles in steps),
        "operations_first": middle(operations(roles, reference=True) for roles in steps),
    }


def _step_plain(
    loaded: Any, clusters: Sequence[Any], arguments: argparse.Namespace, seconds: Timer
) -> dict[str, float]:
    from plain_loop import PlainLoop

    loop = PlainLoop(loaded.model)
    fewer = arguments.fewer
    steps = [_roles(clusters, number) for number in range(2)]
    batches = [{r: _sentences(loaded, p[: len(p) // fewer]) for r, p in roles.items()} for roles in steps]
    return {"plain": fewer * min(seconds(partial(loop.step, **batch)) for batch in batches)}


# --- what both read -----------------------------------------------------------------------------------------------


def _clusters(path: str | None) -> list[Any]:
    from biasunlearn.data.readers import read_triplets

    if path:
        return [c for c in read_triplets(path).triplets if c.kind == "intrasentence"]
    return _made()


def _made() -> list[Any]:
    """2,106 clusters of about eight words each, of words that are none: for the lengths only."""
    from biasunlearn.data.records import Sentence, Triplet

    rng = random.Random(0)
    syllables = ["ba", "do", "ke", "mi", "nu", "po", "ra", "si", "tu", "vo", "la", "fe"]
    words = ["".join(rng.choices(syllables, k=rng.randrange(1, 4))) for _ in range(3000)]
    clusters = []
    for number in range(2106):
        length = rng.randrange(4, 12)
        context = rng.choices(words, k=length)
        context[rng.randrange(length // 2, length)] = "BLANK"
        text = " ".join(context).capitalize().replace("Blank", "BLANK").replace("blank", "BLANK") + "."
        first, second, third = (
            Sentence(f"{number}-{i}", text.replace("BLANK", word)) for i, word in enumerate(rng.choices(words, k=3))
        )
        clusters.append(Triplet(str(number), "made", "intrasentence", text, first, second, third))
    return clusters


def _passages(clusters: Sequence[Any]) -> list[Any]:
    from biasunlearn.data.records import Passage

    return [Passage("", sentence.text) for cluster in clusters for _, sentence in cluster.sentences()]


def _roles(clusters: Sequence[Any], step: int) -> dict[str, tuple[Any, ...]]:
    """The sentences of one step, the same for both loops."""
    from biasunlearn.data.records import Passage

    chosen = random.Random(step).sample(list(clusters), sum(ROLES.values()))
    forget, retain = chosen[: ROLES["forget"]], chosen[ROLES["forget"] : ROLES["forget"] + ROLES["retain"]]
    return {
        "forget": tuple(c.supervised(c.stereotype) for c in forget),
        "retain": tuple(c.supervised(c.anti_stereotype) for c in retain),
        "unrelated": tuple(Passage("", c.unrelated.text) for c in chosen[-ROLES["unrelated"] :]),
    }


def _sentences(loaded: Any, passages: Sequence[Any]) -> list[tuple[list[int], int]]:
    from biasunlearn.models.batches import encode

    return [(list(row.ids), row.first_scored) for row in encode(loaded.tokenizer, passages)]


def _model(name: str, clusters: Sequence[Any], side: str) -> Any:
    from biasunlearn.models.cpu_kernels import fuse_activations
    from biasunlearn.models.load import Loaded, load

    if name == GEMMA:
        return Loaded(_gemma().eval(), _tokenizer(clusters), masked=False)
    if name not in SHAPES:
        return load(name)
    from transformers import GPT2Config, GPT2LMHeadModel

    layers, width, heads = SHAPES[name]
    model = GPT2LMHeadModel(GPT2Config(n_layer=layers, n_embd=width, n_head=heads)).eval()
    if side == "ours":
        fuse_activations(model)
    return Loaded(model, _tokenizer(clusters), masked=False)


def _gemma() -> Any:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    shape = {"num_hidden_layers": 18, "hidden_size": 640, "intermediate_size": 2048, "vocab_size": 262144}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256, "query_pre_attn_scalar": 256}
    return Gemma3ForCausalLM(Gemma3TextConfig(**shape, **heads, sliding_window=512, tie_word_embeddings=True))


def _tokenizer(clusters: Sequence[Any]) -> Any:
    """Byte-level, trained on the sentences themselves: about one token a word, as GPT-2's own has."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=20000, special_tokens=["<|endoftext|>"], show_progress=False)
    core.train_from_iterator([passage.text for passage in _passages(clusters)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
