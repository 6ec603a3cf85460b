"""`make bench`: scoring and training steps, ours beside the plain loop and beside the arithmetic they need.

Every figure is taken in a process of its own, so that peak memory is that of one loop on one model. The floor is the
time that the real tokens' multiplications take at the matrix rate measured in the same run: 2N a token forward, 2N
more for the gradients of activations (LoRA needs none of the weights'), and the output layer where logits count.
Tokens that several sentences share are counted once for scoring. `share` is floor / ours.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHAPES = {"gpt2-small": (12, 768, 12), "gpt2-medium": (24, 1024, 16)}
"""Layers, width, heads; random weights."""

ROLES = {"forget": 4, "retain": 28, "unrelated": 28}
"""Sentences of a step, as in the released code."""

WARM_UP = 1


def main() -> None:
    arguments = _arguments()
    if arguments.worker:
        print(json.dumps(_measure(arguments)))
        return
    rate = _worker(arguments, "rate", "", "")["rate"]
    print(f"matrix rate: {rate / 1e9:.0f} GFLOP/s (float32, {arguments.threads} threads)\n")
    header = f"{'model':<14}{'what':<10}{'ours':>12}{'plain':>12}{'ratio':>8}{'floor':>12}{'share':>8}"
    print(f"{header}{'memory':>10}{'plain':>10}{'memory ratio':>14}")
    for model in arguments.models:
        for what in ("scoring", "step"):
            ours = [_worker(arguments, what, model, "ours") for _ in range(arguments.runs)]
            plain = _worker(arguments, what, model, "plain")
            seconds = statistics.median(run["seconds"] for run in ours)
            spread = max(run["seconds"] for run in ours) - min(run["seconds"] for run in ours)
            floor = ours[0]["operations"] / rate
            memory = statistics.median(run["memory"] for run in ours)
            unit = "ms/sent." if what == "scoring" else "s/step"
            scale = 1000 if what == "scoring" else 1
            print(
                f"{Path(model).name:<14}{what:<10}{seconds * scale:>7.2f} ±{spread * scale / 2:<3.2f}"
                f"{plain['seconds'] * scale:>12.2f}{plain['seconds'] / seconds:>8.1f}{floor * scale:>12.2f}"
                f"{floor / seconds:>8.0%}{memory / 2**30:>8.2f} G{plain['memory'] / 2**30:>8.2f} G"
                f"{memory / plain['memory']:>14.2f}   {unit}",
                flush=True,
            )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["gpt2-small"], help=f"{', '.join(SHAPES)}, or model folders")
    parser.add_argument("--stereoset", help="official StereoSet JSON; else sentences are made, of the same lengths")
    parser.add_argument("--runs", type=int, default=3, help="runs of ours; the median and the spread are shown")
    parser.add_argument("--steps", type=int, default=4, help="training steps of ours that are timed")
    parser.add_argument("--sample", type=float, default=0.1, help="share of the sentences that the plain loop scores")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one run, few sentences")
    for hidden in ("--worker", "--model", "--side"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.runs, arguments.steps, arguments.sample = 1, 2, 0.02
    return arguments


def _worker(arguments: argparse.Namespace, what: str, model: str, side: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", what, "--model", model, "--side", side]
    command += ["--steps", str(arguments.steps), "--sample", str(arguments.sample), "--threads", str(arguments.threads)]
    command += ["--stereoset", arguments.stereoset] if arguments.stereoset else []
    command += ["--quick"] if arguments.quick else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    if arguments.worker == "rate":
        return {"rate": _matrix_rate()}
    clusters = _clusters(arguments.stereoset)
    loaded = _model(arguments.model, clusters)
    measured = {
        ("scoring", "ours"): _score_ours, ("scoring", "plain"): _score_plain,
        ("step", "ours"): _step_ours, ("step", "plain"): _step_plain,
    }[arguments.worker, arguments.side](loaded, clusters, arguments)  # fmt: skip
    return measured | {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def _matrix_rate() -> float:
    """Operations a second of the best of several large float32 products."""
    import torch

    left, right = torch.randn(2048, 1024), torch.randn(1024, 4096)
    return 2 * 2048 * 1024 * 4096 / min(_seconds(lambda: left @ right) for _ in range(20))


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


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
    body = sum(p.numel() for p in model.parameters() if p.dim() == 2 and id(p) not in tables)
    places = [p for name, p in model.named_parameters() if "wpe" in name or "position_embeddings" in name]
    return Size(body - sum(p.numel() for p in places), head.numel())


# --- scoring ----------------------------------------------------------------------------------------------------------


def _score_ours(loaded: Any, clusters: Sequence[Any], arguments: argparse.Namespace) -> dict[str, float]:
    from biasunlearn.batches import encode
    from biasunlearn.scoring import score
    from biasunlearn.sharing import groups

    passages = _passages(clusters)
    score(loaded, passages[:60])
    seconds = _seconds(lambda: score(loaded, passages))
    rows = encode(loaded.tokenizer, passages)
    unique = sum(group.length for group in groups(rows))
    size = _size(loaded.model)
    # Every token but a start token is predicted once, so the output layer sees about as many as the body.
    return {"seconds": seconds / len(passages), "operations": 2 * (size.body + size.head) * unique / len(passages)}


def _score_plain(loaded: Any, clusters: Sequence[Any], arguments: argparse.Namespace) -> dict[str, float]:
    from plain_loop import score_one_by_one

    rows = _sentences(loaded, _passages(clusters))
    chosen = random.Random(0).sample(rows, max(20, int(arguments.sample * len(rows))))
    score_one_by_one(loaded.model, chosen[:5])
    return {"seconds": _seconds(lambda: score_one_by_one(loaded.model, chosen)) / len(chosen), "operations": 0.0}


# --- training steps -----------------------------------------------------------------------------------------------


def _step_ours(loaded: Any, clusters: Sequence[Any], arguments: argparse.Namespace) -> dict[str, float]:
    import torch

    from biasunlearn.batches import encode
    from biasunlearn.config import DebiasConfig
    from biasunlearn.feed import StepBatch
    from biasunlearn.models import trainable, with_lora
    from biasunlearn.trainer import loss_terms

    size = _size(loaded.model)
    config = DebiasConfig()
    model = with_lora(loaded.model, config)
    optimizer = torch.optim.AdamW(list(trainable(model).values()), lr=1e-4)

    def step(number: int) -> StepBatch:
        roles = _roles(clusters, number)
        ones = {role: (1.0,) * len(passages) for role, passages in roles.items()}
        batch = StepBatch(roles["forget"], roles["retain"], roles["unrelated"], ones["forget"], ones["retain"])
        loss_terms(model, loaded.tokenizer, batch, config).total(config).backward()
        optimizer.step()
        optimizer.zero_grad()
        return batch

    for number in range(WARM_UP):
        step(number)
    seconds, operations = [], []
    for number in range(WARM_UP, WARM_UP + arguments.steps):
        seconds.append(_seconds(lambda number=number: step(number)))
        roles = {role: encode(loaded.tokenizer, passages) for role, passages in _roles(clusters, number).items()}
        tokens = {role: sum(len(row.ids) for row in rows) for role, rows in roles.items()}
        scored = {role: sum(row.scored for row in rows) for role, rows in roles.items()}
        referred = {"forget": 1, "unrelated": 1}
        # 4 = forward and the gradients of activations, 2 = forward of the reference
        operations.append(sum(
            (4 + 2 * referred.get(role, 0)) * (size.body * tokens[role] + size.head * scored[role]) for role in roles
        ))  # fmt: skip
    return {"seconds": statistics.median(seconds), "operations": statistics.median(operations)}


def _step_plain(loaded: Any, clusters: Sequence[Any], arguments: argparse.Namespace) -> dict[str, float]:
    from plain_loop import PlainLoop

    loop = PlainLoop(loaded.model)
    batches = [{r: _sentences(loaded, p) for r, p in _roles(clusters, number).items()} for number in range(2)]
    return {"seconds": min(_seconds(lambda b=b: loop.step(**b)) for b in batches), "operations": 0.0}


# --- what both read -----------------------------------------------------------------------------------------------


def _clusters(path: str | None) -> list[Any]:
    from biasunlearn.data import read_clusters

    if path:
        return [c for c in read_clusters(path).clusters if c.kind == "intrasentence"]
    return _made()


def _made() -> list[Any]:
    """2,106 clusters of about eight words each, of words that are none: for the lengths only."""
    from biasunlearn.records import Cluster, Sentence

    rng = random.Random(0)
    syllables = ["ba", "do", "ke", "mi", "nu", "po", "ra", "si", "tu", "vo", "la", "fe"]
    words = ["".join(rng.choices(syllables, k=rng.randrange(1, 4))) for _ in range(3000)]
    clusters = []
    for number in range(2106):
        length = rng.randrange(4, 12)
        context = rng.choices(words, k=length)
        context[rng.randrange(length // 2, length)] = "BLANK"
        text = " ".join(context).capitalize().replace("Blank", "BLANK").replace("blank", "BLANK") + "."
        ends = [
            Sentence(f"{number}-{i}", text.replace("BLANK", word)) for i, word in enumerate(rng.choices(words, k=3))
        ]
        clusters.append(Cluster(str(number), "made", "intrasentence", text, *ends))
    return clusters


def _passages(clusters: Sequence[Any]) -> list[Any]:
    from biasunlearn.records import Passage

    return [Passage("", sentence.text) for cluster in clusters for _, sentence in cluster.sentences()]


def _roles(clusters: Sequence[Any], step: int) -> dict[str, tuple[Any, ...]]:
    """The sentences of one step, the same for both loops."""
    from biasunlearn.records import Passage

    chosen = random.Random(step).sample(list(clusters), sum(ROLES.values()))
    forget, retain = chosen[: ROLES["forget"]], chosen[ROLES["forget"] : ROLES["forget"] + ROLES["retain"]]
    return {
        "forget": tuple(c.supervised(c.stereotype) for c in forget),
        "retain": tuple(c.supervised(c.anti_stereotype) for c in retain),
        "unrelated": tuple(Passage("", c.unrelated.text) for c in chosen[-ROLES["unrelated"] :]),
    }


def _sentences(loaded: Any, passages: Sequence[Any]) -> list[tuple[list[int], int]]:
    from biasunlearn.batches import encode

    return [(list(row.ids), row.first_scored) for row in encode(loaded.tokenizer, passages)]


def _model(name: str, clusters: Sequence[Any]) -> Any:
    from biasunlearn.models import Loaded, load

    if name not in SHAPES:
        return load(name)
    from transformers import GPT2Config, GPT2LMHeadModel

    layers, width, heads = SHAPES[name]
    model = GPT2LMHeadModel(GPT2Config(n_layer=layers, n_embd=width, n_head=heads)).eval()
    return Loaded(model, _tokenizer(clusters), masked=False)


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
