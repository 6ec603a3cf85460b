"""The small world: deterministic, cleanly split, its known skew counted by hand, its model learnable and loadable."""

import re
from collections import Counter
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest

from biasunlearn.data import toy_world as module
from biasunlearn.data.records import BLANK, Triplet
from biasunlearn.data.referents import referent_pool, replaced_pairs
from biasunlearn.data.subgroups import load_subgroups, subgroup_of, term_lists
from biasunlearn.data.toy_world import World, build_world, train_world_model
from biasunlearn.stats.association import MarginParts, association_scores, margin_parts


@pytest.fixture(scope="module")
def world() -> World:
    return build_world()


def word_of(cluster: Triplet, text: str) -> str:
    """The word that stands in the BLANK."""
    head, tail = cluster.context.split(BLANK)
    assert text.startswith(head) and text.endswith(tail)
    return text[len(head) : len(text) - len(tail)]


def parts(clusters: tuple[Triplet, ...]) -> tuple[set[str], set[str], set[str]]:
    """Target terms, templates (without the term) and words of the clusters."""
    terms = {str(c.target) for c in clusters}
    templates = {c.context.replace(str(c.target), "TERM") for c in clusters}
    words = {word_of(c, sentence.text) for c in clusters for _, sentence in c.sentences()}
    return terms, templates, words


@pytest.mark.slow
def test_same_seed_same_world(world: World) -> None:
    assert build_world(0) == world
    assert build_world(1).corpus != world.corpus


def test_sizes(world: World) -> None:
    for clusters, terms, size in ((world.train, 25, 300), (world.report, 12, 150)):
        for bias_type in world.known_skew:
            group = [c for c in clusters if c.bias_type == bias_type]
            assert len(group) >= size and len({c.target for c in group}) >= terms
    assert sorted(world.known_skew) == ["gender", "profession", "race", "religion"]


def test_train_and_report_share_no_term_template_or_word(world: World) -> None:
    for train, report in zip(parts(world.train), parts(world.report), strict=True):
        assert not train & report


def test_every_word_is_known_to_the_model(world: World) -> None:
    known = set(re.findall(r"\w+", " ".join(world.corpus)))
    texts = [s.text for c in world.train + world.report for _, s in c.sentences()]
    assert set(re.findall(r"\w+", " ".join([*texts, *world.facts]))) <= known


def test_clusters_are_well_formed(world: World) -> None:
    clusters = world.train + world.report
    ids = [s.id for c in clusters for _, s in c.sentences()]
    assert len(set(ids)) == len(ids) and len({c.id for c in clusters}) == len(clusters) == len(world.odds)
    assert len({c.stereotype.text + c.anti_stereotype.text for c in clusters}) == len(clusters)
    for cluster in clusters:
        assert cluster.context.count(BLANK) == 1 and cluster.kind == "intrasentence" and cluster.unrelated
        assert len({len(s.text.split()) for _, s in cluster.sentences()}) == 1  # the pair has equal length
        assert all(word_of(cluster, s.text).isalpha() for _, s in cluster.sentences())


def test_groups_terms_and_words_are_used_once() -> None:
    """24 terms a group and 20 words a class, none of them twice: else the skew of one would leak into another."""
    everything: list[str] = []
    for bias_type in module._BIAS_TYPES:
        assert [len(side.split()) for side in (*bias_type.groups, *bias_type.words)] == [24, 24, 20, 20]
        everything += " ".join([*bias_type.groups, *bias_type.words]).split()
    everything += module._PARTS + module._MATERIALS
    assert [word for word, count in Counter(everything).items() if count > 1] == []


@pytest.mark.slow
def test_known_skew_is_what_the_corpus_says(world: World) -> None:
    """Counts, for every report cluster, the corpus sentences that hold its term and either word."""
    seen: Counter[tuple[str, str]] = Counter()
    for sentence in world.corpus:
        words = re.findall(r"\w+", sentence)
        seen.update((first, second) for i, first in enumerate(words) for second in words[i + 1 :])
    won: dict[str, list[float]] = {}
    for cluster in world.report:
        stereotype, anti, unrelated = (
            seen[str(cluster.target), word_of(cluster, s.text)] for _, s in cluster.sentences()
        )
        assert world.odds[cluster.id] == stereotype / anti and stereotype != anti and unrelated == 0
        won.setdefault(cluster.bias_type, []).append(100 * (stereotype > anti))
    # Every term has the same number of clusters, so that the mean over terms is the plain mean.
    assert {name: sum(wins) / len(wins) for name, wins in won.items()} == pytest.approx(world.known_skew)


@pytest.mark.slow
def test_known_skew_by_formula() -> None:
    """50 + 50 * share of even pairs: 4, 2, 4 and 2 of 10."""
    for seed in range(3):
        assert build_world(seed).known_skew == {"gender": 70, "profession": 60, "race": 70, "religion": 60}


def test_without_the_log_3_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with no skew put in, the odds of the corpus favour neither side."""
    monkeypatch.setattr(module, "SKEW", 0.0)
    odds = build_world().odds
    above, below = sum(ratio > 1 for ratio in odds.values()), sum(ratio < 1 for ratio in odds.values())
    assert abs(above - below) < 0.03 * len(odds)


def corpus_parts() -> list[MarginParts]:
    """The two parts of every pair's log odds in the corpus, with all other target terms of its bias type in turn."""
    found = []
    for bias_type in module._BIAS_TYPES:
        items = module._items(bias_type, np.random.default_rng(0))
        margins = {}
        for one in items:
            margins[one.target, one.stereotype] = log(one.counts[0] / one.counts[1])
            margins[one.target, one.anti_stereotype] = -margins[one.target, one.stereotype]
        terms = {one.target for one in items}
        for one in items:
            others = [margins[term, one.stereotype] for term in terms - {one.target}]
            unit, own = f"{one.target} {one.stereotype}", margins[one.target, one.stereotype]
            found.append(margin_parts(unit, bias_type.name, one.target, own, others))
    return found


def test_a_world_with_only_wording_skew_has_no_group_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SKEW", 0.0)
    parts = corpus_parts()
    scores = association_scores(parts)
    assert scores is not None and abs(scores.margin_group.value) < 0.02
    assert scores.margin_group.low < 0 < scores.margin_group.high
    assert np.mean([abs(part.wording) for part in parts]) > 1  # the words' popularity is all there is


def test_a_world_with_only_group_skew_has_no_wording_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVEN", (0.0, 0.0))
    monkeypatch.setattr(module, "LOPSIDED", (0.0, 0.0))
    scores = association_scores(corpus_parts())
    assert scores is not None and scores.margin_group.low > 1
    assert scores.margin_group.value == pytest.approx(log(3) * 48 / 47, abs=0.05)  # 23 of the 47 others share its group
    assert abs(scores.margin_wording.value + log(3) / 47) < 0.02


def test_every_target_term_has_a_subgroup_and_others_in_its_place(world: World, tmp_path: Path) -> None:
    paths = []
    for name, content in world.term_lists.items():
        paths.append(str(tmp_path / f"{name}.yaml"))
        Path(paths[-1]).write_text(content, encoding="utf-8")
    known = load_subgroups(paths)
    sizes = Counter((c.bias_type, subgroup_of(c.bias_type, str(c.target), known)) for c in world.report)
    assert len(sizes) == 8 and set(sizes.values()) == {100}
    found = replaced_pairs(world.report, pool=referent_pool(term_lists(paths)))
    assert found.left_out == () and {len(made) for made in found.versions.values()} == {4}
    words = {word for sentence in world.corpus for word in re.findall(r"\w+", sentence)}
    assert {one.term for made in found.versions.values() for one in made} <= words


def test_typical_odds_are_clear(world: World) -> None:
    clear = [max(ratio, 1 / ratio) for ratio in world.odds.values()]
    assert min(clear) > 1.2 and sorted(clear)[len(clear) // 2] >= 2.5


def test_facts_are_held_out(world: World) -> None:
    assert len(world.facts) == len(set(world.facts)) == 300
    assert not set(world.facts) & set(world.corpus)


@pytest.mark.slow
def test_a_short_training_learns_and_can_be_loaded(world: World, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    threads, state, losses = torch.get_num_threads(), torch.random.get_rng_state(), []
    part = replace(world, corpus=world.corpus[:8000])
    train_world_model(part, tmp_path, steps=40, progress=lambda step, of, loss: losses.append((step, of, loss)))
    assert torch.get_num_threads() == threads and torch.equal(torch.random.get_rng_state(), state)
    assert [row[:2] for row in losses] == [(i, 40) for i in range(1, 41)]
    assert losses[0][2] > 6 and losses[-1][2] < 4  # from log(vocabulary) downwards

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = tokenizer(world.report[0].stereotype.text)["input_ids"]
    assert tokenizer.bos_token == "<s>" and tokenizer.bos_token_id not in ids and tokenizer.unk_token_id not in ids
    assert model.config.bos_token_id == tokenizer.bos_token_id and model.config.vocab_size == len(tokenizer)
    assert (tmp_path / "model.safetensors").exists()


def test_padding_does_not_enter_the_loss(world: World) -> None:
    import torch

    tokenizer = module._tokenizer(world.corpus)
    model = module._fresh_model(tokenizer, 0).eval()
    short, long = min(world.corpus, key=len), max(world.corpus, key=len)
    with torch.no_grad():
        alone = module._loss(model, *module._table(tokenizer, [short]))
        other = module._loss(model, *module._table(tokenizer, [long]))
        ids, real = module._table(tokenizer, [short, long])
        both = module._loss(model, ids, real)
    tokens = (real.sum(1) - 1).tolist()  # the start token is never predicted
    assert float(both) == pytest.approx((alone * tokens[0] + other * tokens[1]).item() / sum(tokens), rel=1e-5)
