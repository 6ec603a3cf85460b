"""From data files to training sets and stop split: read, check, join, split, and build the sets."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from biasunlearn.config import DebiasConfig
from biasunlearn.data.checks import PairTexts, check_pairs, overlap, pair_texts
from biasunlearn.data.definitional import definitional_pairs
from biasunlearn.data.readers import (
    DataFile,
    fingerprint,
    fingerprint_of,
    read_triplets,
    triplet_hash,
)
from biasunlearn.data.records import Passage, Triplet, main_kind
from biasunlearn.data.splits import Split, split
from biasunlearn.data.tables import MemoryTable, collector_off
from biasunlearn.data.target_terms import with_targets, with_unrelated
from biasunlearn.data.unrelated import Unrelated, UnrelatedSources, in_words, read_sources
from biasunlearn.data.wording import word_hashes
from biasunlearn.errors import DataError, RequestError
from biasunlearn.runs.run_files import Manifest
from biasunlearn.runs.sections import DataFacts, FileFacts, SplitFacts, Splits
from biasunlearn.unlearn.contexts import counterfactual_contexts, term_families
from biasunlearn.unlearn.sets import Context, TrainingSets, training_sets
from biasunlearn.unlearn.shared_terms import (
    families_of,
    in_common_families,
    left_out_finding,
    shared_families_finding,
    unseen_pairs,
)
from biasunlearn.unlearn.swap_parts import SwapParts, swap_parts

MOST_PAIRS = 20_000
"""Training pairs of which versions about other groups are made for the invariance loss. A run of 160 steps reads about
a thousand of them, and to make them of a million pairs would take a third of the whole preparation."""

EARLY = 13
"""Characters before the BLANK where the released code begins to supervise: the length of "<|endoftext|>"."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The training sets and the stop split of a run, and what is stored about their origin."""

    sets: TrainingSets
    train: tuple[Triplet, ...]
    stop: tuple[Triplet, ...]
    facts: DataFacts
    """Counts, hashes, skipped rows and findings, for results.json."""
    manifest: Manifest
    """Hashes for the adapter folder, with which a later `measure` recognises data that was trained on."""
    parts: SwapParts | None = None
    """The subgroups that have a swap weight of their own, with `swap_by: subgroup`."""


@collector_off()
def prepare(
    train: str | MemoryTable | DataFile,
    report: str | MemoryTable | DataFile,
    unrelated: Unrelated | None,
    config: DebiasConfig,
    *,
    skip_invalid: bool = False,
    unscorable: Mapping[Passage, str] | None = None,
    term_lists: Sequence[str] = (),
) -> Prepared:
    """Reads and checks the files, joins target terms and unrelated sentences, splits, and builds the sets.

    Args:
        train, report: a path, rows in memory, or the data read from it.
        unrelated: one source of unrelated sentences, or several paths, each of which gives the same share of a step.
        unscorable: passages that the model cannot score, with the reasons. Pairs and sentences with one are left out of
            the sets after the split, which therefore is the same for every model.
        term_lists: files of the user that name subgroups, for `swap_by: subgroup`.
    Raises:
        DataError: there are such pairs, and `skip_invalid` is off.
        RequestError: a file or a row is wrong, a bias type is too small to be split, or nothing to compute KL on.
    """
    read = _read_files(train, report, unrelated, skip_invalid)
    findings = [*_findings(read), *_inert(config)]
    families = families_of(config)
    triplets = unseen_pairs(read.joined, read.report.triplets, config, families)
    parts = split(triplets, stop_share=config.stop_share, seed=config.seed, families=families)
    trained, others = _trained_types(parts, config)
    stop = _stop_items(trained, read.report.triplets, config)
    chosen = _supervised_kinds(trained.train, config)
    sentences, source_hash = _unrelated_set(read.unrelated, triplets, parts, config)
    hashes = _fingerprint(read, chosen), _fingerprint(read, stop)
    findings += left_out_finding(read.joined, triplets, config)
    lost: list[str] = []
    if unscorable:
        chosen, stop, sentences, lost = _scorable(chosen, stop, sentences, unscorable, config)
    if lost:  # an unscorable context or guard sentence is no row of the user's
        if not skip_invalid:
            raise DataError(lost)
        findings.append(f"{len(lost)} rows that the model cannot score were left out; the first is {lost[0]}")
    common = in_common_families(chosen, read.report.triplets, families)
    splits = Splits(
        train=_split_facts(chosen, hashes[0]),
        stop=_split_facts(stop, hashes[1]),
        shared_with_report=len(read.joined) - len(triplets),
        train_in_report_families=common[0],
        report_in_train_families=common[1],
        unused=len(triplets) - len(chosen) - (0 if config.stop_on == "report" else len(stop)),
        without_target_term=sum(c.target is None for c in triplets),
    )
    facts = DataFacts(
        train=_file_facts(read.train, lost),
        report=_file_facts(read.report),
        unrelated=FileFacts(
            path=in_words(unrelated), sha256=source_hash, sentences=sum(map(len, sentences)),
            skipped=read.unrelated.skipped,
        ),
        splits=splits,
        overlap_with_report=read.overlap,
        stopped_on_report=config.stop_on == "report",
        findings=[*findings, *shared_families_finding(chosen, common, config)],
    )  # fmt: skip
    swap_by = swap_parts(chosen, stop, config, term_lists)
    later = (*stop, *read.report.triplets)
    sets = _training_sets(chosen, later, sentences, config, unscorable or {}, swap_by)
    sets = _with_protected(sets, others, config, unscorable or {})
    more = [*_contexts_finding(sets, chosen, config), *_protected_finding(sets, others)]
    facts = facts.with_values(findings=[*facts.findings, *more])
    used = (*chosen, *others) if sets.protected else chosen
    return Prepared(sets, chosen, stop, facts, _manifest(read, facts, used, stop, config.seed), swap_by)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The training sets and the stop split, without what a run folder stores about their origin."""

    sets: TrainingSets
    train: tuple[Triplet, ...]
    stop: tuple[Triplet, ...]
    parts: SwapParts | None = None


def training_data(
    train: str | MemoryTable,
    stop: str | MemoryTable | None,
    unrelated: Unrelated | None,
    config: DebiasConfig,
) -> TrainingData:
    """As `prepare`, for training without a report file.

    Args:
        stop: pairs of the stop split. None: it is held out from the training pairs, by term family.
    Raises:
        DataError, RequestError: as `prepare`; a bias type that is trained on has no pair in `stop`.
    """
    other = read_sources(unrelated)
    joined = _joined(read_triplets(train), other)
    if stop is None:
        parts = split(joined, stop_share=config.stop_share, seed=config.seed, families=families_of(config))
    else:
        given = read_triplets(stop)
        parts = Split(tuple(joined), given.triplets)
        if missing := sorted({c.bias_type for c in joined} - {c.bias_type for c in given.triplets}):
            raise RequestError(f"{given.path}: has no pair of bias type {missing[0]!r}, which is trained on; add some")
    trained, others = _trained_types(parts, config)
    held_out, chosen = _stop_items(trained, (), config), _supervised_kinds(trained.train, config)
    sentences, _ = _unrelated_set(other, joined, parts, config)
    swap_by = swap_parts(chosen, held_out, config)
    sets = _training_sets(chosen, held_out, sentences, config, {}, swap_by)
    return TrainingData(_with_protected(sets, others, config, {}), chosen, held_out, swap_by)


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of a run as they were read."""

    train: DataFile
    report: DataFile
    unrelated: UnrelatedSources
    joined: Sequence[Triplet]
    """The training pairs, with target terms and unrelated sentences from the unrelated file where they have none."""
    texts: PairTexts
    """Of the training pairs; their hashes do not depend on their target terms and unrelated sentences."""
    overlap: int
    """Report pairs that are also in the training file."""


def _read_files(
    train: str | MemoryTable | DataFile,
    report: str | MemoryTable | DataFile,
    unrelated: Unrelated | None,
    skip_invalid: bool,
) -> _Files:
    pairs = read_triplets(train, skip_invalid=skip_invalid)
    reported = read_triplets(report, skip_invalid=skip_invalid)
    other = read_sources(unrelated, skip_invalid=skip_invalid)
    joined = _joined(pairs, other)
    texts = pair_texts(pairs.triplets)
    return _Files(pairs, reported, other, joined, texts, overlap(set(texts.hashes), reported.triplets))


def _joined(pairs: DataFile, other: UnrelatedSources) -> Sequence[Triplet]:
    """The pairs, with target terms and unrelated sentences from the unrelated files where they have none."""
    named = other.triplets
    return with_unrelated(with_targets(pairs.triplets, named), named)


def _training_sets(
    chosen: Sequence[Triplet],
    later: Sequence[Triplet],
    sentences: Sequence[Sequence[str]],
    config: DebiasConfig,
    unscorable: Mapping[Passage, str],
    parts: SwapParts | None,
) -> TrainingSets:
    """The sets of the losses.

    Args:
        later: pairs of the stop and the report split, whose groups are to stay unseen.
        sentences: the unrelated sentences of each source.
    """
    parts_of_set = tuple(part for part in sentences if part)
    sets = training_sets(
        chosen,
        [text for part in parts_of_set for text in part],
        adversarial_share=config.adversarial_share,
        seed=config.seed,
        supervised_to=config.supervised_to,
        parts=parts,
    )
    if len(parts_of_set) > 1:
        sets = replace(sets, unrelated_sizes=tuple(map(len, parts_of_set)))
    if config.invariance_weight and config.lora_rank:  # the adapter is switched off to read the reference
        contexts = tuple(c for c in _contexts(chosen, later, config) if unscorable.keys().isdisjoint(c))
        guard = tuple(one for one in _guard() if one not in unscorable)
        sets = replace(sets, contexts=contexts, guard=guard if contexts else ())
    return _supervised_early(sets) if config.supervised_from == "early" else sets


def _manifest(
    read: _Files, facts: DataFacts, used: Sequence[Triplet], stop: Sequence[Triplet], seed: int
) -> Manifest:
    """`used`: the pairs that training reads, with those that are only protected."""
    held_out, elsewhere = ((), stop) if facts.stopped_on_report else (stop, ())
    pairs = set(compress(read.texts.hashes, _among(read, (*used, *held_out)).tolist()))
    pairs.update(map(triplet_hash, elsewhere))
    return Manifest(
        train=facts.train, unrelated=facts.unrelated, splits=facts.splits, seed=seed,
        pairs=sorted(pairs), words=sorted(word_hashes(used)),
    )  # fmt: skip


def _findings(read: _Files) -> list[str]:
    """What the user should know about the data before training, one line each."""
    files = [read.train, read.report, *read.unrelated.data_files]
    findings = [line for data in files for line in data.remarks]
    findings += check_pairs(read.train.triplets, read.report.triplets, read.texts)
    if read.overlap:
        findings.append(
            f"{read.overlap} pairs of {read.train.path} are also in {read.report.path}: the result is marked as "
            "contaminated"
        )
    return findings


def _inert(config: DebiasConfig) -> list[str]:
    """A setting that costs a part of the batch and does nothing (docs/method.md)."""
    if not config.adversarial_share or config.batch_pairs != "matched":
        return []
    return [
        f"adversarial_share: {config.adversarial_share:g} has hardly any effect with batch_pairs: matched, as an "
        "adversarial sentence is its own partner; set adversarial_share=0, or batch_pairs=independent"
    ]


def _file_facts(data: DataFile, lost: Sequence[str] = ()) -> FileFacts:
    skipped = [*data.skipped, *lost]
    return FileFacts(path=data.path, sha256=data.sha256, rows=len(data.triplets), skipped=skipped)


def _fingerprint(read: _Files, chosen: Sequence[Triplet]) -> str:
    """`fingerprint` of training pairs, whose texts were hashed when they were read."""
    used = _among(read, chosen)
    if not read.train.digests or used.sum() != len(chosen):
        return fingerprint(chosen)
    return fingerprint_of(np.frombuffer(read.train.digests, "V8")[used].tobytes())


def _among(read: _Files, chosen: Sequence[Triplet]) -> NDArray[np.bool_]:
    """Whether each pair of `read.joined` is one of these, which are the very same objects."""
    joined, wanted = (np.fromiter(map(id, triplets), np.int64, len(triplets)) for triplets in (read.joined, chosen))
    return np.isin(joined, wanted)


def _split_facts(triplets: Sequence[Triplet], sha256: str) -> SplitFacts:
    sizes = dict(sorted(Counter(c.bias_type for c in triplets).items()))
    return SplitFacts(pairs=len(triplets), sha256=sha256, bias_types=sizes)


def _scorable(
    train: Sequence[Triplet],
    stop: Sequence[Triplet],
    sentences: Sequence[Sequence[str]],
    unscorable: Mapping[Passage, str],
    config: DebiasConfig,
) -> tuple[tuple[Triplet, ...], tuple[Triplet, ...], tuple[tuple[str, ...], ...], list[str]]:
    """Training pairs, stop pairs and unrelated sentences that the model can score, and a line for each that it cannot.

    Raises:
        RequestError: a bias type is left without training pairs or without stop pairs.
    """
    left_out: list[str] = []

    def usable(triplet: Triplet) -> bool:
        reason = next((unscorable[one] for one in _passages(triplet, config) if one in unscorable), None)
        if reason:
            left_out.append(f"{triplet.source}: {reason}")
        return reason is None

    kept_train, kept_stop = tuple(filter(usable, train)), tuple(filter(usable, stop))
    for before, after, part in ((train, kept_train, "training"), (stop, kept_stop, "stop")):
        if gone := {c.bias_type for c in before} - {c.bias_type for c in after}:
            raise RequestError(
                f"bias type {sorted(gone)[0]!r} has no {part} pairs that the model can score: {left_out[0]}"
            )
    texts = tuple(tuple(text for text in part if Passage("", text) not in unscorable) for part in sentences)
    left_out += [
        f"unrelated sentence {text[:60]!r}: {unscorable[Passage('', text)]}"
        for part in sentences for text in part if Passage("", text) in unscorable
    ]  # fmt: skip
    return kept_train, kept_stop, texts, left_out


def _passages(triplet: Triplet, config: DebiasConfig) -> Iterator[Passage]:
    """The passages of a triplet that training and evaluation use."""
    for _, sentence in triplet.sentences():
        yield triplet.whole(sentence)
    for sentence in (triplet.stereotype, triplet.anti_stereotype):
        supervised = triplet.supervised(sentence, config.supervised_to)
        yield supervised
        yield _early(supervised)


def _stop_items(parts: Split, report: Sequence[Triplet], config: DebiasConfig) -> tuple[Triplet, ...]:
    """The stop split: intrasentence items if there are any, since intersentence pairs show no bias before training."""
    trained = {c.bias_type for c in parts.train}
    triplets = tuple(c for c in report if c.bias_type in trained) if config.stop_on == "report" else parts.stop
    main = main_kind(triplets)
    stop = tuple(c for c in triplets if c.kind == main)
    if config.stop_items is not None:
        seen: Counter[str] = Counter()
        first = []
        for triplet in stop:
            seen[triplet.bias_type] += 1
            if seen[triplet.bias_type] <= config.stop_items:
                first.append(triplet)
        stop = tuple(first)
    missing = trained - {c.bias_type for c in stop}
    if missing and config.stop_on == "report":
        raise RequestError(f"stop_on: report: the report file has no triplets of bias type {sorted(missing)[0]!r}")
    if missing:
        raise RequestError(
            f"no pair of bias type {sorted(missing)[0]!r} could be held out for stopping (all its pairs share one "
            "target term or context); add pairs with other target terms"
        )
    return stop


def _trained_types(parts: Split, config: DebiasConfig) -> tuple[Split, tuple[Triplet, ...]]:
    """The splits of the bias types that are trained on, and the training pairs of the others.

    Raises:
        RequestError: a name in `trained_types` of which there are no pairs.
    """
    if config.trained_types == ("all",):
        return parts, ()
    known = {triplet.bias_type for triplet in parts.train}
    if odd := sorted(set(config.trained_types) - known):
        raise RequestError(
            f"trained_types: {odd[0]}: the training pairs have no such bias type; they have {', '.join(sorted(known))}"
        )
    train, stop = (
        tuple(triplet for triplet in part if triplet.bias_type in config.trained_types)
        for part in (parts.train, parts.stop)
    )
    others = tuple(triplet for triplet in parts.train if triplet.bias_type not in config.trained_types)
    return Split(train, stop), others


def _with_protected(
    sets: TrainingSets, others: Sequence[Triplet], config: DebiasConfig, unscorable: Mapping[Passage, str]
) -> TrainingSets:
    """The sets with the pairs of bias types that are not trained on, where the penalty of their directions has a
    weight. Pairs that the model cannot score are left out.

    Raises:
        RequestError: there is only one bias type, so that there are no directions of others.
    """
    if not config.orthogonal_weight:
        return sets
    if not others and len(sets.pairs) < 2:
        raise RequestError(
            f"orthogonal_weight: the training pairs have one bias type, {next(iter(sets.pairs))}; add pairs of others, "
            "which need not be trained on (trained_types), or set it to 0"
        )
    protected: dict[str, list[tuple[Passage, Passage]]] = {}
    for triplet in _supervised_kinds(others, config) if others else ():
        sides = triplet.supervised_sides(config.supervised_to)
        if unscorable.keys().isdisjoint(sides):
            protected.setdefault(triplet.bias_type, []).append(sides)
    return replace(sets, protected={name: tuple(pairs) for name, pairs in sorted(protected.items())})


def _protected_finding(sets: TrainingSets, others: Sequence[Triplet]) -> list[str]:
    """That pairs are not trained on, and what they are used for."""
    if not others:
        return []
    use = "are only used to keep their bias directions" if sets.protected else "are not used"
    names = ", ".join(sorted({triplet.bias_type for triplet in others}))
    return [f"trained_types: {len(others)} pairs of {names} {use}"]


def _supervised_kinds(train: Sequence[Triplet], config: DebiasConfig) -> tuple[Triplet, ...]:
    """The pairs of the kinds that are trained on; a bias type without intrasentence pairs keeps those it has."""
    if config.train_kinds == "both":
        return tuple(train)
    has = {c.bias_type for c in train if c.kind == "intrasentence"}
    chosen = tuple(c for c in train if c.kind == "intrasentence" or c.bias_type not in has)
    if not chosen:
        raise RequestError("no training pairs are left after the stop split; add pairs or lower stop_share")
    return chosen


def _unrelated_set(
    unrelated: UnrelatedSources, triplets: Sequence[Triplet], parts: Split, config: DebiasConfig
) -> tuple[tuple[tuple[str, ...], ...], str | None]:
    """Sentences for the KL term, by source, and their hash.

    Those with which LMS is measured on the stop split are left out, and a sentence of an earlier source counts once.
    """
    source_hash = None
    if unrelated.sources:
        given, source_hash = unrelated.sentences()
    else:
        given = (tuple(c.unrelated.text for c in triplets if c.unrelated),)
    known = {c.unrelated.text for c in parts.stop if c.unrelated}
    sentences: list[tuple[str, ...]] = []
    for part in given:
        sentences.append(tuple(dict.fromkeys(text for text in part if text not in known)))
        known.update(sentences[-1])
    if not any(sentences) and config.kl_weight > 0:
        raise RequestError(
            "no unrelated sentences for the KL term: give --unrelated FILE (triplets with unrelated sentences, or a "
            ".txt of ordinary sentences; unrelated_dataset of a Trainer), or --set kl_weight=0"
        )
    return tuple(sentences), source_hash


def _contexts(chosen: Sequence[Triplet], later: Sequence[Triplet], config: DebiasConfig) -> tuple[Context, ...]:
    """Counterfactual contexts of the training pairs, of a large file those of `MOST_PAIRS` drawn ones. Term families of
    the stop and the report split are not used."""
    if len(chosen) > MOST_PAIRS:
        drawn = np.random.default_rng(config.seed).choice(len(chosen), MOST_PAIRS, replace=False)
        chosen = [chosen[number] for number in sorted(drawn)]
    found = counterfactual_contexts(chosen, count=config.context_terms, seed=config.seed, without=term_families(later))
    return tuple(context for contexts in found.values() for context in contexts)


def _contexts_finding(sets: TrainingSets, chosen: Sequence[Triplet], config: DebiasConfig) -> list[str]:
    """How many training sentences the invariance loss uses, where it does not use all of them."""
    sentences = 2 * min(len(chosen), MOST_PAIRS)
    if config.invariance_weight and not config.lora_rank:
        return ["lora_rank: 0 trains all weights; the invariance loss, which needs an adapter, is not used"]
    if len(chosen) > MOST_PAIRS and config.invariance_weight:
        return [
            f"the invariance loss uses versions of {len(sets.contexts):,} sentences, from {MOST_PAIRS:,} of the "
            f"{len(chosen):,} training pairs, drawn with the seed"
        ]
    if not config.invariance_weight or len(sets.contexts) == sentences:
        return []
    used = f"{len(sets.contexts)} of {sentences} training sentences have versions about other groups"
    effect = "the invariance loss uses these" if sets.contexts else "the invariance loss has no effect"
    return [f"{used}; {effect}"]


def _guard() -> tuple[Passage, ...]:
    """Both sentences of every definitional pair that training may use."""
    return tuple(Passage("", text) for pair in definitional_pairs("guard") for text in (pair.holds, pair.does_not))


def _supervised_early(sets: TrainingSets) -> TrainingSets:
    """The boundary of the released code with GPT tokenizers: y begins 13 characters too early, in pairs as well."""

    return replace(
        sets,
        forget={b: tuple(map(_early, passages)) for b, passages in sets.forget.items()},
        retain={b: tuple(map(_early, passages)) for b, passages in sets.retain.items()},
        pairs={b: tuple((_early(one), _early(other)) for one, other in pairs) for b, pairs in sets.pairs.items()},
    )


def _early(passage: Passage) -> Passage:
    whole, cut = passage.prefix + passage.text, max(0, len(passage.prefix) - EARLY)
    return Passage(whole[:cut], whole[cut:], passage.suffix)
