"""The same models and items through bias-bench and FairLangProc and through this package: how far the scores differ.

    python evidence/outside_check.py BIAS_BENCH FAIRLANGPROC CAUSAL MASKED STEREOSET CROWS SEAT

BIAS_BENCH is a checkout of McGill-NLP/bias-bench, FAIRLANGPROC a folder that contains the package of that name, CAUSAL
a causal model whose tokenizer has <|endoftext|>, MASKED a masked model, STEREOSET and CROWS the published files, SEAT
one test of SEAT. Prints the table of docs/methods_results.md. Both projects are run as they are,
but for three things: pandas has no DataFrame.append and numpy no np.int any more, which they call, and their progress
bars are turned off.
"""

import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch

PAIRS = 150
SENTENCES = 20


def main() -> None:
    bias_bench, fair, causal, masked, stereoset, crows, seat = sys.argv[1:]
    sys.path[:0] = [bias_bench, fair]
    _let_them_run()
    torch.manual_seed(0)
    print("| scores of | items | theirs | here | agreement | why they differ |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as home:
        check_stereoset(causal, _first_triplets(stereoset, Path(home) / "stereoset.json"))
        check_crows(causal, _first_rows(crows, Path(home) / "crows.csv", None), None)
        check_crows(masked, _first_rows(crows, Path(home) / "race.csv", "race-color"), "race-color")
    check_seat(causal, seat)
    check_pseudo(masked, crows)
    check_sentence_debias(masked, crows)


def _let_them_run() -> None:
    def append(self: Any, row: Any, ignore_index: bool) -> Any:
        return pandas.concat([self, pandas.DataFrame([row])], ignore_index=ignore_index)

    pandas.DataFrame.append = append
    np.int = int
    import tqdm

    class Quiet(tqdm.tqdm):
        def __init__(self, *given: Any, **named: Any):
            super().__init__(*given, **{**named, "disable": True})

    tqdm.tqdm = Quiet


def _loaded(folder: str) -> Any:
    from biasunlearn.models.load import load
    from biasunlearn.models.spec import ModelSpec

    return load(ModelSpec(folder))


def _first_triplets(stereoset: str, path: Path) -> Path:
    data = json.loads(Path(stereoset).read_text(encoding="utf-8"))
    data["data"]["intrasentence"] = data["data"]["intrasentence"][:PAIRS]
    data["data"]["intersentence"] = []
    for cluster in data["data"]["intrasentence"]:
        for sentence in cluster["sentences"]:  # bias-bench needs the annotators' labels, which it does not use
            sentence["labels"] = [{"human_id": "", "label": sentence["gold_label"]}]
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def _first_rows(crows: str, path: Path, bias_type: str | None) -> Path:
    with open(crows, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if bias_type in (None, row["bias_type"])][:PAIRS]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def check_stereoset(folder: str, path: Path) -> None:
    """SS of a causal model, and the scores of the single sentences."""
    from bias_bench.benchmark.stereoset import StereoSetRunner

    from biasunlearn.benchmarks.stereoset import score_triplets
    from biasunlearn.data.readers import read_triplets

    loaded = _loaded(folder)
    runner = StereoSetRunner(loaded.model, loaded.tokenizer, input_file=str(path), is_generative=True)
    theirs = {one["id"]: float(np.log(one["score"])) for one in runner()["intrasentence"]}
    data = json.loads(path.read_text(encoding="utf-8"))["data"]["intrasentence"]
    items = iter(score_triplets(loaded, read_triplets(str(path)).triplets))  # in the order of the file
    rows = []
    for cluster in data:
        by_label = {sentence["gold_label"]: theirs[sentence["id"]] for sentence in cluster["sentences"]}
        rows.append({item.role: (by_label[item.role], item.score) for item in (next(items) for _ in by_label)})
    shares = [100 * np.mean([r["stereotype"][k] > r["anti-stereotype"][k] for r in rows]) for k in (0, 1)]
    pairs = np.array([value for found in rows for value in found.values()])
    same = np.mean([
        (r["stereotype"][0] > r["anti-stereotype"][0]) == (r["stereotype"][1] > r["anti-stereotype"][1])
        for r in rows
    ])  # fmt: skip
    print(
        f"| bias-bench, StereoSet, SS, causal | {len(rows)} pairs | {shares[0]:.1f} | {shares[1]:.1f} | "
        f"{100 * same:.0f} % of pairs; correlation of sentences {np.corrcoef(pairs.T)[0, 1]:.3f} | they score the "
        "first token behind <\\|endoftext\\|> and all others without a start token |"
    )


def check_crows(folder: str, path: Path, bias_type: str | None) -> None:
    """The share of stereotypes; bias-bench prints it, and returns it in percent."""
    import contextlib
    import io

    from bias_bench.benchmark.crows.crows import CrowSPairsRunner

    from biasunlearn import measure

    loaded = _loaded(folder)
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        theirs = CrowSPairsRunner(
            loaded.model, loaded.tokenizer, str(path), is_generative=not loaded.masked, bias_type=bias_type
        )()
    found = measure(folder, {"crows_pairs": str(path)}).benchmarks.crows_pairs.overall
    reason = (
        "they score the differing tokens, each masked in turn, here the shared words, as in the paper"
        if loaded.masked
        else "they take the mean over tokens, here it is the sum, as in lm-eval; and the start token"
    )
    kind = "masked" if loaded.masked else "causal"
    print(
        f"| bias-bench, CrowS-Pairs, {kind} | {found.n} pairs | {theirs:.1f} | {found.stereotype_share.value:.1f} | | "
        f"{reason} |"
    )


def check_seat(folder: str, path: str) -> None:
    """The effect size of one test, on the same vectors: the mean of a sentence's last hidden states."""
    from bias_bench.benchmark.seat import weat
    from FairLangProc.metrics.embedding import WEAT

    from biasunlearn.benchmarks.seat import associations, weigh
    from biasunlearn.scoring.embed import embed

    loaded = _loaded(folder)
    data = json.loads(Path(path).read_text(encoding="utf-8"))
    sets = {name: embed(loaded, data[name]["examples"])["mean"] for name in ("targ1", "targ2", "attr1", "attr2")}

    def effect_size(attributes: int) -> float:
        """With so many attributes of each side at most."""
        first, second = sets["attr1"][:attributes], sets["attr2"][:attributes]
        found = weigh(*(associations(sets[name], first, second) for name in ("targ1", "targ2"))).effect_size
        return float("nan") if found is None else found

    targets = np.concatenate([sets["targ1"], sets["targ2"]])
    attributes = np.concatenate([sets["attr1"], sets["attr2"]])
    n, m = len(sets["targ1"]), len(sets["attr1"])
    cosines = weat.construct_cossim_lookup(dict(enumerate(targets)), dict(enumerate(attributes)))
    theirs = weat.effect_size(range(n), range(n, len(targets)), range(m), range(m, len(attributes)), cosines)
    print(
        f"| bias-bench, SEAT, effect size on the same vectors | {len(targets)} sentences | {theirs:.4f} | "
        f"{effect_size(len(attributes)):.4f} | | equal |"
    )

    class Vectors(WEAT):
        def _get_embedding(self, outputs: Any) -> Any:
            raise NotImplementedError

    equal = min(m, len(sets["attr2"]))  # they cannot compute with more attributes on one side
    given = [torch.tensor(sets[name][:equal] if name.startswith("attr") else sets[name]) for name in sets]
    other = Vectors(torch.nn.Linear(1, 1), None, device="cpu").effect_size(*given)
    print(
        f"| FairLangProc, WEAT, effect size, first {equal} attributes of each side | {len(targets)} sentences | "
        f"{other:.4f} | {effect_size(equal):.4f} | | they divide by the spread of single differences of cosines, not "
        "of the means s(w) of the paper |"
    )


def check_pseudo(folder: str, crows: str) -> None:
    """Pseudo-log-likelihoods of whole sentences, as they are and with the softmax over the vocabulary."""
    from FairLangProc.metrics import probability

    from biasunlearn.data.records import Passage
    from biasunlearn.scoring.log_prob import score

    loaded = _loaded(folder)
    with open(crows, encoding="utf-8", newline="") as file:
        sentences = [row["sent_more"] for row in csv.DictReader(file)][:SENTENCES]
    here = [found.mean * found.tokens for found in score(loaded, [Passage("", text) for text in sentences])]
    tokenizer = loaded.tokenizer

    def theirs() -> list[float]:
        return [
            probability.MaskedPseudoLogLikelihood(
                loaded.model, tokenizer(text, return_tensors="pt")["input_ids"][0], -1, tokenizer.mask_token_id,
                tokenizer.cls_token_id, tokenizer.pad_token_id,
            )
            for text in sentences
        ]  # fmt: skip

    plain = theirs()
    softmax = probability.F.softmax
    probability.F.softmax = lambda logits, dim: softmax(logits, dim=-1)
    fixed = theirs()
    probability.F.softmax = softmax
    for name, values in (("as it is", plain), ("with the softmax over the vocabulary", fixed)):
        largest = max(abs(a - b) for a, b in zip(values, here, strict=True))
        print(
            f"| FairLangProc, pseudo-log-likelihood, {name} | {len(sentences)} sentences | {np.mean(values):.2f} | "
            f"{np.mean(here):.2f} | largest difference {largest:.2g} nats | "
            + ("its softmax runs over the positions of the sentence |" if name == "as it is" else "equal |")
        )


def check_sentence_debias(folder: str, crows: str) -> None:
    """The direction that SentenceDebias projects out, from gender pairs of CrowS-Pairs: cosine with the one here."""
    from bias_bench.debias.sentence_debias import compute_gender_subspace
    from FairLangProc.algorithms.preprocessors.projection_based import SentDebiasModel

    from biasunlearn.data.records import Passage
    from biasunlearn.unlearn.methods.projection import fit_sentence_debias, represented

    loaded = _loaded(folder)
    with open(crows, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["bias_type"] == "gender"][:128]
    sides = [[row[name] for row in rows] for name in ("sent_more", "sent_less")]
    vectors = [represented(loaded, [Passage("", text) for text in side]) for side in sides]
    projection, _ = fit_sentence_debias([(vectors[0], vectors[1])])
    here = torch.linalg.eigh(projection)[1][:, -1].double()
    data = [{"male_example": one, "female_example": other} for one, other in zip(*sides, strict=True)]
    with torch.no_grad():
        theirs = torch.as_tensor(compute_gender_subspace(data, loaded.model.base_model, loaded.tokenizer)).double()

    class OnVectors(SentDebiasModel):
        """Both sides of the pairs as they are represented here."""

        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            self.tokenizer = lambda texts, **_: {"texts": texts}
            self.word_pairs, self.n_components, self.device = list(zip(*sides, strict=True)), 1, "cpu"

        def _get_embedding(self, texts: list[str]) -> Any:
            return vectors[0] if texts == sides[0] else vectors[1]

        _get_loss = _loss = _load_model = None

    other = OnVectors()._compute_bias_subspace().double().flatten()
    for name, found, reason in (
        ("bias-bench", theirs.flatten()[: len(here)], "they normalise each sentence and count [CLS] and [SEP]"),
        ("FairLangProc, on the same vectors", other, "they subtract the mean difference first"),
    ):
        cosine = abs(float(torch.nn.functional.cosine_similarity(here, found, dim=0)))
        print(f"| {name}, SentenceDebias, direction | {len(rows)} pairs | | | cosine {cosine:.3f} | {reason} |")


main()
