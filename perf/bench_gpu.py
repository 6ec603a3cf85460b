"""`make bench-gpu`: scoring and training steps of three shapes on a CUDA card, in bfloat16 and 4 bits.

    python perf/bench_gpu.py                 # on a machine with a CUDA card; at most 8 minutes, no network
    python perf/bench_gpu.py --tiny          # the same code on any machine, with tiny shapes: no figure means anything

The weights are random, the sentences are made (the lengths of StereoSet's), and a step has 4 forget, 28 retain and 28
unrelated sentences, as in the released code. Every case runs in a process of its own; one that fails or has no time
left is a row that says so. Share: the multiplications that the real tokens need (2 N per token for scoring, 4 N for a
step with LoRA, and the output layer where logits are needed), over the time and the matrix rate that was measured in
the same process with a product of two large bfloat16 matrices; of a step, of those whose reference values are known.
Memory: the peak of what torch allocated on the card after the model was built. The plain loop (plain_loop.py) scores
one sentence per forward pass and pads its steps to 100 tokens; it has two copies of the model.

A second table has scoring with long contexts: 4 contexts of 1,024 tokens with 8 sentences each, with a mask of all
pairs of tokens and with FlexAttention (models/block_attention.py), the time of the first batch, in which FlexAttention
is compiled, the peak memory without the model, and the largest difference of a sentence. GPT-2 takes 1,024 tokens, so
that its contexts are shorter.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODELS = ("gpt2-medium", "llama-8b", "qwen3-8b")

LARGE: Mapping[str, Mapping[str, Any]] = {
    "gpt2-medium": {"n_layer": 24, "n_embd": 1024, "n_head": 16},
    "llama-8b": {
        "num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 128256, "rope_theta": 500000.0,
    },
    "qwen3-8b": {
        "num_hidden_layers": 36, "hidden_size": 4096, "intermediate_size": 12288, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "rope_theta": 1000000.0,
    },
}  # fmt: skip
"""The published shapes of GPT-2-medium, Llama-3-8B and Qwen3-8B."""

_SMALL = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4,
          "num_key_value_heads": 2, "vocab_size": 2048}  # fmt: skip
TINY: Mapping[str, Mapping[str, Any]] = {
    "gpt2-medium": {"n_layer": 2, "n_embd": 64, "n_head": 4, "vocab_size": 2048},
    "llama-8b": _SMALL,
    "qwen3-8b": {**_SMALL, "head_dim": 16},
}

MINUTES = 8.0
PER_CASE = 150.0
"""Seconds after which one case is stopped."""

CONTEXT, CONTEXTS, SENTENCES, OWN = 1024, 4, 8, 20
"""Tokens of a long context, how many there are, sentences of each, and tokens of a sentence after its context."""

LONG_HEADER = (
    "| model | lines of tokens | all pairs | FlexAttention | first batch | all pairs, memory | FlexAttention, memory |"
    " largest difference |"
)

HEADER = (
    "| model | precision | scoring, tokens/s | share | plain, tokens/s | step, first | later | share | plain step |"
    " memory | plain memory |"
)


@dataclass(frozen=True, slots=True)
class Case:
    """One process: a shape in one precision, with this package (ours, long: long contexts) or with the plain loop."""

    model: str
    dtype: str
    side: str


def cases(models: Sequence[str]) -> list[Case]:
    """In the order in which they are measured: what matters most first."""
    made = [Case(model, "bfloat16", "ours") for model in models]
    if importlib.util.find_spec("bitsandbytes") is not None:
        made += [Case(model, "4bit", "ours") for model in models if model != "gpt2-medium"]
    return made + [Case(model, "bfloat16", side) for side in ("plain", "long") for model in models]


# --- one case ---------------------------------------------------------------------------------------------------------


def measure(case: Case, *, tiny: bool = False) -> dict[str, Any]:
    """The figures of a case on the card, or with tiny shapes on the CPU."""
    import bench
    import torch

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() and not tiny else "cpu")
    clusters = bench._clusters(None)[: 40 if tiny else 400]
    loaded = _loaded(case, device, clusters, (TINY if tiny else LARGE)[case.model])
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    rate = _matrix_rate(device, 64 if tiny else 8192)
    options = argparse.Namespace(part=1, sample=0.05 if tiny else 0.1, steps=1 if tiny else 3, fewer=1)
    seconds = _timer(device)
    scoring, step = (
        (bench._score_ours, bench._step_ours) if case.side == "ours" else (bench._score_plain, bench._step_plain)
    )
    if tiny:
        bench.ROLES = {"forget": 2, "retain": 3, "unrelated": 3}
    scored, stepped = (dict(work(loaded, clusters, options, seconds)) for work in (scoring, step))
    rows = bench._sentences(loaded, bench._passages(clusters))
    return {
        "tokens": sum(len(ids) for ids, _ in rows) / len(rows), "rate": rate, "memory": _memory(device),
        "scoring": scored, "step": stepped, "card": _card(device),
    }  # fmt: skip


def measure_long(case: Case, *, tiny: bool = False) -> dict[str, Any]:
    """The figures of a case with long contexts: of each of both ways the seconds and the peak memory, or its error."""
    import bench
    import torch

    from biasunlearn.models.forward import evaluating, max_tokens
    from biasunlearn.models.prefix_sharing import groups, line_width, opening, packed

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() and not tiny else "cpu")
    loaded = _loaded(case, device, bench._clusters(None)[:40], (TINY if tiny else LARGE)[case.model])
    context = min(150 if tiny else CONTEXT, (max_tokens(loaded.model) or CONTEXT + OWN) - OWN)
    rows = _long_rows(loaded.model.config.vocab_size, context)
    shared = opening(rows)
    lines = packed(groups(rows), shared=shared)
    with evaluating(loaded.model):
        ways = {way: _long_way(loaded.model, rows, lines, way == "blocks") for way in ("pairs", "blocks")}
    sums = [found.pop("sums", None) for found in ways.values()]
    difference = None if None in sums else max(abs(a - b) for a, b in zip(*sums, strict=True))
    return {**ways, "lines": len(lines), "width": line_width(lines, shared), "difference": difference,
            "card": _card(device)}  # fmt: skip


def _long_rows(vocabulary: int, context: int) -> list[Any]:
    """Rows of random tokens after a common first one; only the tokens after a context are scored."""
    import torch

    from biasunlearn.models.batches import TokenRow

    contexts = torch.randint(1, vocabulary, (CONTEXTS, context - 1)).tolist()
    sentences = torch.randint(1, vocabulary, (CONTEXTS, SENTENCES, OWN)).tolist()
    return [
        TokenRow((0, *before, *own), context) for before, some in zip(contexts, sentences, strict=True) for own in some
    ]


def _long_way(model: Any, rows: Sequence[Any], lines: Sequence[Any], blocks: bool) -> dict[str, Any]:
    """Seconds of the first batch and of the fastest of three, peak memory, and the scores of the rows."""
    import torch

    from biasunlearn.models.batch_log_probs import batch_log_probs
    from biasunlearn.models.prefix_sharing import collate_groups, opening

    sums: list[float] = []
    seconds, before = _timer(model.device), 0
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()

    def work() -> None:
        batch = collate_groups(
            rows, lines, dtype=model.dtype, shared=opening(rows), blocks=blocks, device=model.device
        )
        sums[:] = batch.sums(batch_log_probs(model, batch).double()).tolist()

    try:
        first, best = seconds(work), min(seconds(work) for _ in range(3))
        return {"first": first, "best": best, "memory": _memory(model.device) - before, "sums": sums}
    except Exception as error:
        return {"error": (str(error).strip().splitlines() or [type(error).__name__])[0][:120]}


def _loaded(case: Case, device: Any, clusters: Sequence[Any], shape: Mapping[str, Any]) -> Any:
    """The model with random weights, built on the device, and a tokenizer of the sentences."""
    import bench
    import torch
    import transformers

    from biasunlearn.models.load import Loaded

    classes = {
        "gpt2-medium": (transformers.GPT2Config, transformers.GPT2LMHeadModel),
        "llama-8b": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "qwen3-8b": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    }
    configuration, kind = classes[case.model]
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:
            model = kind(configuration(**shape))
    finally:
        torch.set_default_dtype(before)
    model = model.eval().requires_grad_(False)
    if case.dtype == "4bit":
        _quantise(model, device)
    tokenizer = bench._tokenizer(clusters)
    assert len(tokenizer) <= model.config.vocab_size, "every token has an embedding"
    return Loaded(model, tokenizer, masked=False)


def _quantise(model: Any, device: Any) -> None:
    """Replaces the linear layers, except the output layer, by bitsandbytes' NF4 layers, one after the other."""
    import bitsandbytes
    import torch

    head = model.get_output_embeddings()
    for name, layer in list(model.named_modules()):
        if type(layer) is not torch.nn.Linear or layer is head:
            continue
        made = bitsandbytes.nn.Linear4bit(
            layer.in_features, layer.out_features, bias=layer.bias is not None, compute_dtype=torch.bfloat16,
            quant_type="nf4", device="meta",
        )  # fmt: skip
        made.weight = bitsandbytes.nn.Params4bit(layer.weight.data.cpu(), requires_grad=False, quant_type="nf4")
        made.bias, made.support_avx512bf16_for_cpu = layer.bias, False  # as `quantization.check_loaded` does
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, made.to(device))
    model.is_loaded_in_4bit = True


def _matrix_rate(device: Any, size: int) -> float:
    """Operations per second of the fastest of ten products of two bfloat16 matrices."""
    import torch

    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = _timer(device)
    return 2 * size**3 / min(seconds(lambda: left @ right) for _ in range(10))


def _timer(device: Any) -> Any:
    """Measures the seconds of a piece of work until the card has finished it."""
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(work: Any) -> float:
        wait()
        begun = time.perf_counter()
        work()
        wait()
        return time.perf_counter() - begun

    return seconds


def _memory(device: Any) -> int:
    """Bytes: the peak on the card, or of the process on a CPU."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _card(device: Any) -> str:
    import torch

    return torch.cuda.get_device_name() if device.type == "cuda" else "CPU, tiny shapes"


# --- the table --------------------------------------------------------------------------------------------------------


def run_cases(models: Sequence[str], minutes: float, *, tiny: bool) -> dict[Case, dict[str, Any] | str]:
    """The figures of each case, or one line that says why it has none."""
    ends = time.monotonic() + 60 * minutes
    found: dict[Case, dict[str, Any] | str] = {}
    for case in cases(models):
        left = ends - time.monotonic()
        found[case] = "no time left" if left < 10 else _run_case(case, min(PER_CASE, left - 5), tiny)
        print(f"{case.model} {case.dtype} {case.side}: {_told(found[case])}", file=sys.stderr, flush=True)
    return found


def _told(result: dict[str, Any] | str) -> str:
    return result if isinstance(result, str) else "done"


def _run_case(case: Case, seconds: float, tiny: bool) -> dict[str, Any] | str:
    command = [sys.executable, __file__, "--case", case.model, case.dtype, case.side, *(["--tiny"] if tiny else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"stopped after {seconds:.0f} s"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return "out of memory" if "OutOfMemoryError" in last else last[:120]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(found: Mapping[Case, dict[str, Any] | str]) -> Iterator[str]:
    """The table, in Markdown."""
    yield HEADER
    yield "|" + "---|" * (HEADER.count("|") - 1)
    for case, ours in found.items():
        if case.side != "ours":
            continue
        plain = found.get(Case(case.model, case.dtype, "plain"), "not measured")
        yield f"| {case.model} | {case.dtype} | " + " | ".join(_cells(ours, plain)) + " |"


def long_table(found: Mapping[Case, dict[str, Any] | str]) -> Iterator[str]:
    """The table of long contexts, in Markdown."""
    yield LONG_HEADER
    yield "|" + "---|" * (LONG_HEADER.count("|") - 1)
    for case, one in found.items():
        if case.side == "long":
            cells = [one, *[""] * 6] if isinstance(one, str) else _long_cells(one)
            yield f"| {case.model} | " + " | ".join(cells) + " |"


def _long_cells(one: Mapping[str, Any]) -> list[str]:
    pairs, blocks = one["pairs"], one["blocks"]
    seconds = [way.get("error") or f"{way['best']:.3f} s" for way in (pairs, blocks)]
    memory = ["" if "error" in way else f"{way['memory'] / 1e9:.1f} GB" for way in (pairs, blocks)]
    first = "" if "error" in blocks else f"{blocks['first']:.1f} s"
    difference = "" if one["difference"] is None else f"{one['difference']:.2g} nats"
    return [f"{one['lines']} of {one['width']:,}", *seconds, first, *memory, difference]


def _cells(ours: dict[str, Any] | str, plain: dict[str, Any] | str) -> list[str]:
    if isinstance(plain, str):
        scored, stepped, beside = plain, plain, plain
    else:
        scored = f"{plain['tokens'] / plain['scoring']['plain']:,.0f}"
        stepped, beside = f"{plain['step']['plain']:.2f} s", f"{plain['memory'] / 1e9:.1f} GB"
    if isinstance(ours, str):
        return [ours, "", scored, "", "", "", stepped, "", beside]
    scoring, step = ours["scoring"], ours["step"]
    share = scoring["operations"] / ours["rate"] / scoring["scoring"]
    return [
        f"{ours['tokens'] / scoring['scoring']:,.0f}", f"{share:.0%}", scored,
        f"{step['first']:.2f} s", f"{step['later']:.2f} s",
        f"{step['operations'] / ours['rate'] / step['later']:.0%}", stepped, f"{ours['memory'] / 1e9:.1f} GB", beside,
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Scoring and training steps on a CUDA card, at most 8 minutes")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--minutes", type=float, default=MINUTES, help="no case is begun or continued after these")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes on the CPU: tries that everything runs")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        case = Case(*given.case)
        print(json.dumps((measure_long if case.side == "long" else measure)(case, tiny=given.tiny)))
        return
    import torch

    if not torch.cuda.is_available() and not given.tiny:
        raise SystemExit("There is no CUDA card here, so nothing is measured; --tiny tries the same code on the CPU.")
    found = run_cases(given.models, given.minutes, tiny=given.tiny)
    measured = [one for case, one in found.items() if not isinstance(one, str) and case.side != "long"]
    for one in measured[:1]:
        print(f"{one['card']}, torch {torch.__version__}, {max(m['rate'] for m in measured) / 1e12:.2f} TFLOP/s\n")
    print(*table(found), "", *long_table(found), sep="\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
