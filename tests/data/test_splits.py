"""Splits are disjoint by target term and seeded; targets are found where the data does not name them."""

import json
from collections import Counter, defaultdict

import pytest

from biasunlearn.config import DebiasConfig, as_it_was_split
from biasunlearn.data.checks import check_pairs, contamination, overlap
from biasunlearn.data.families import shipped_families
from biasunlearn.data.readers import read_triplets, triplet_hash
from biasunlearn.data.records import Sentence, Triplet
from biasunlearn.data.splits import group_counts, group_of, groups_of, split
from biasunlearn.data.target_terms import with_targets, with_unrelated
from biasunlearn.errors import RequestError
from biasunlearn.unlearn.prepare import prepare
from tests.shared_data import SHARED, needs_shared


def cluster(number, bias_type="x", target=None, context="A BLANK.", kind="intrasentence", unrelated=None):
    return Triplet(
        str(number), bias_type, kind, context,
        Sentence(f"s{number}", f"S {number}."), Sentence(f"a{number}", f"A {number}."),
        None if unrelated is None else Sentence(f"u{number}", unrelated), target, f"file:{number}",
    )  # fmt: skip


MANY = [cluster(n, "xy"[n % 2], f"t{n % 34}") for n in range(340)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_no_term_on_both_sides_and_the_share_is_met(seed, share):
    parts = split(MANY, stop_share=share, seed=seed)
    assert not {group_of(c) for c in parts.train} & {group_of(c) for c in parts.stop}
    assert len(parts.train) + len(parts.stop) == len(MANY)
    for bias_type, count in Counter(c.bias_type for c in parts.stop).items():
        assert count == pytest.approx(share * 170, abs=10), bias_type


@pytest.mark.parametrize("families", [None, shipped_families()])
def test_the_groups_of_many_pairs_are_those_of_each(families):
    pairs = [*MANY, cluster(1, "race", "Syrians"), cluster(2, "race", "syria"), cluster(3, "x"), cluster(4, "x", "")]
    assert list(groups_of(pairs, families)) == [group_of(c, families) for c in pairs]
    assert group_counts(pairs, families) == Counter(group_of(c, families) for c in pairs)


def test_seed_decides_and_order_does_not():
    first, again, other = (split(MANY, stop_share=0.4, seed=s).stop for s in (0, 0, 1))
    assert first == again != other
    backwards = split(MANY[::-1], stop_share=0.4, seed=0).stop
    assert {c.id for c in backwards} == {c.id for c in first}


def test_without_target_the_context_is_what_must_not_be_shared():
    same = [cluster(n, context="One BLANK.") for n in range(4)] + [cluster(9, context="Two BLANK.")]
    parts = split(same, stop_share=0.3, seed=0)
    assert not {c.context for c in parts.train} & {c.context for c in parts.stop}


def test_a_pair_of_unknown_term_trains_where_known_terms_fill_the_share():
    """Its term may be one that is trained on: the stop split would then not speak of unseen terms."""
    known = [cluster(n, target=f"t{n % 10}") for n in range(60)]
    unknown = [cluster(100 + n, context=f"Number {n} is BLANK.") for n in range(40)]
    assert all(c.target for c in split(known + unknown, stop_share=0.5, seed=0).stop)
    too_few = split(known[:10] + unknown, stop_share=0.5, seed=0).stop
    assert len(too_few) == 25 and not all(c.target for c in too_few)


def test_targets_by_context_by_term_by_recurrence_and_else_none():
    named = [cluster(0, target="Nurse", context="A nurse is BLANK.")]
    pairs = [
        cluster(1, context="A nurse is BLANK."),
        cluster(2, context="Those nurses were BLANK."),
        *[cluster(10 + n, context=f"The {w} plumber was BLANK.") for n, w in enumerate("abcdefghij")],
        *[cluster(30 + n, "y", context=f"My {w} aunt was BLANK.") for n, w in enumerate("abcdefghij")],
        cluster(50, context="BLANK."),
    ]
    found = {c.id: c.target for c in with_targets(pairs, named)}
    assert found["1"] == "Nurse"  # the same context in the other file
    assert found["2"] == "Nurse"  # the term stands in the context, in the plural
    assert found["12"] == "plumber" and found["31"] == "aunt"  # recurs here and hardly elsewhere
    assert found["50"] is None


def test_unrelated_sentences_are_joined_by_context():
    named = [cluster(0, context="A nurse is BLANK.", unrelated="A nurse is fish.")]
    joined = with_unrelated(
        [cluster(1, context="A nurse is BLANK."), cluster(2, "y", context="A nurse is BLANK.")], named
    )
    assert joined[0].unrelated.text == "A nurse is fish." and joined[1].unrelated is None


@pytest.mark.slow
@needs_shared
def test_real_pairs_get_targets_and_none_of_them_stands_in_dev():
    pairs = read_triplets(SHARED / "data/stereoset/train_pairs.jsonl").triplets
    named = read_triplets(SHARED / "data/stereoset/test_intrasentence_partial.json").triplets
    dev = read_triplets(SHARED / "data/stereoset/dev.json").triplets
    found = with_targets(pairs, named)
    assert sum(c.target is None for c in found) < 0.02 * len(found)
    terms = defaultdict(set)
    for c in found:
        terms[c.bias_type].add((c.target or "").casefold())
    assert len(terms["gender"]) == 30 and len(terms["religion"]) <= 11 and len(terms["race"]) > 100
    in_dev = {d.target.casefold() for d in dev}
    assert sum((c.target or "").casefold() in in_dev for c in found) < 5
    assert overlap(set(map(triplet_hash, pairs)), dev) == 0


@pytest.mark.slow
@needs_shared
def test_prepared_sets_of_the_main_job():
    data = SHARED / "data/stereoset"
    files = [str(data / name) for name in ("train_pairs.jsonl", "dev.json", "test_intrasentence_partial.json")]
    prepared = prepare(*files, DebiasConfig(seed=3))
    trained = {p.text for passages in prepared.sets.retain.values() for p in passages}
    assert trained and all(c.kind == "intrasentence" for c in prepared.stop)
    held_out = {c.unrelated.text for c in prepared.stop if c.unrelated}
    assert held_out and not held_out & {p.text for p in prepared.sets.unrelated}
    for name in ("train", "stop"):
        assert len(prepared.facts.split(name).sha256) == 64
    findings = "\n".join(prepared.facts.findings)
    assert "1 pairs have equal texts" in findings and "BLANK twice" in findings


def test_pairs_about_a_term_of_the_report_file_are_left_out(tmp_path):
    def file(name, rows):
        lines = (
            json.dumps({"bias_type": b, "target": t, "context": f"The {t} {n} BLANK.", "stereotype": f"The {t} {n} a.",
                        "anti_stereotype": f"The {t} {n} b.", "unrelated": f"The {t} {n} u."})
            for n, (b, t) in enumerate(rows)
        )  # fmt: skip
        (tmp_path / name).write_text("\n".join(lines))
        return str(tmp_path / name)

    train = file("t.jsonl", [("x", f"t{n % 8}") for n in range(32)])
    prepared = prepare(train, file("r.jsonl", [("x", "T3"), ("y", "t4")]), None, DebiasConfig())
    assert prepared.facts.splits.shared_with_report == 4  # t3, in any letter case; t4 is of another bias type
    kept = prepare(train, str(tmp_path / "r.jsonl"), None, DebiasConfig(shared_terms="kept"))
    assert kept.facts.splits.shared_with_report == 0
    with pytest.raises(RequestError, match="every training pair of bias type 'x'"):
        prepare(train, train, None, DebiasConfig())


def numbered(path, rows):
    """A file of pairs about (bias type, target term)."""
    lines = (
        json.dumps({"bias_type": b, "target": t, "context": f"The {t} {n} BLANK.", "stereotype": f"The {t} {n} a.",
                    "anti_stereotype": f"The {t} {n} b.", "unrelated": f"The {t} {n} u."})
        for n, (b, t) in enumerate(rows)
    )  # fmt: skip
    path.write_text("\n".join(lines))
    return str(path)


COUNTRIES = ["Syria", "Syrian", "Norway", "Norwegian", "Peru", "Peruvian", "Ghana", "Ghanaian", "Italy", "Atlantis"]


@pytest.mark.parametrize("seed", range(5))
def test_a_country_and_its_people_are_on_one_side(seed):
    pairs = [cluster(n, "race", COUNTRIES[n % 10]) for n in range(100)]

    def sides(families):
        parts = split(pairs, stop_share=0.4, seed=seed, families=families)
        return [{c.target for c in part} for part in (parts.train, parts.stop)]

    train, stop = sides(shipped_families())
    assert train and stop
    for one, other in (("Syria", "Syrian"), ("Norway", "Norwegian"), ("Peru", "Peruvian"), ("Ghana", "Ghanaian")):
        assert {one, other} <= train or {one, other} <= stop
    assert not train & stop


def test_terms_alone_put_some_country_and_its_people_on_different_sides():
    """The negative control of the test above."""
    pairs = [cluster(n, "race", COUNTRIES[n % 10]) for n in range(100)]
    parts = split(pairs, stop_share=0.4, seed=0)
    train, stop = ({group_of(c, shipped_families()) for c in part} for part in (parts.train, parts.stop))
    assert train & stop


def test_pairs_of_a_family_of_the_report_file_are_counted_and_can_be_left_out(tmp_path):
    train = numbered(tmp_path / "t.jsonl", [("race", COUNTRIES[n % 10]) for n in range(60)])
    report = numbered(tmp_path / "r.jsonl", [("race", "Syrians"), ("race", "Norway"), ("race", "Chile")])
    default = prepare(train, report, None, DebiasConfig(stop_share=0.15))
    assert default.facts.splits.shared_with_report == 6  # Norway itself; Syria, Syrian and Norwegian are other terms
    trained = sum(default.facts.splits.train_in_report_families.values())
    assert trained > 0 and default.facts.splits.report_in_train_families in ({"race": 1}, {"race": 2})
    said = next(line for line in default.facts.findings if "share a term family" in line)
    assert said.startswith(f"{trained} of {default.facts.splits.train.pairs} training pairs (race {trained})")
    dropped = prepare(train, report, None, DebiasConfig(shared_terms="dropped"))
    assert dropped.facts.splits.shared_with_report == 24 and dropped.facts.splits.train_in_report_families == {}
    assert any("left out (shared_terms: dropped); left: race 36 of 60" in line for line in dropped.facts.findings)
    assert not any("only the term may be" in line for line in dropped.facts.findings)


def test_a_bias_type_without_pairs_of_other_families_is_one_line_with_the_fix(tmp_path):
    rows = [("religion", term) for term in ("Islam", "Quran", "Bible", "Christian") for _ in range(3)]
    rows += [("race", COUNTRIES[n % 10]) for n in range(30)]
    report = numbered(tmp_path / "r.jsonl", [("religion", "Muslims"), ("religion", "church")])
    files = numbered(tmp_path / "t.jsonl", rows), report
    message = r"'religion' \(Bible, Christian, Islam, Quran\) shares a term family.*term_dropped"
    with pytest.raises(RequestError, match=message):
        prepare(*files, None, DebiasConfig(shared_terms="dropped"))
    assert prepare(*files, None, DebiasConfig()).facts.splits.shared_with_report == 0


def test_families_of_a_users_file_and_none(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("race: [[Atlantis, Italy]]\n")
    train = numbered(tmp_path / "t.jsonl", [("race", COUNTRIES[n % 10]) for n in range(60)])
    report = numbered(tmp_path / "r.jsonl", [("race", "Atlantis")])

    def left_out(families):
        config = DebiasConfig(shared_terms="dropped", term_families=families)
        return prepare(train, report, None, config).facts.splits.shared_with_report

    assert (left_out("shipped"), left_out(str(mine)), left_out("none")) == (6, 12, 6)
    with pytest.raises(RequestError, match=r"gone\.yaml"):
        prepare(train, report, None, DebiasConfig(term_families=str(tmp_path / "gone.yaml")))


def test_the_recipe_of_an_earlier_run_splits_as_it_did(tmp_path):
    old = as_it_was_split({"shared_terms": "dropped", "seed": 3})
    assert (old["term_families"], old["shared_terms"], old["seed"]) == ("none", "term_dropped", 3)
    assert as_it_was_split({})["shared_terms"] == "term_dropped"
    assert as_it_was_split({"shared_terms": "kept"})["shared_terms"] == "kept"
    new = {"term_families": "shipped", "shared_terms": "dropped"}
    assert as_it_was_split(new) == new


def test_checks_say_what_is_odd():
    equal = Triplet("e", "x", "intrasentence", "A BLANK.", Sentence("1", "A b."), Sentence("2", "A b."), source="f:7")
    twice = cluster(1, context="A BLANK and BLANK.")
    bare = cluster(2, context="No blank.")
    findings = check_pairs([equal, twice, twice, bare], [cluster(n, "z") for n in range(5)])
    assert [f.split("(first: ")[-1][:-1] for f in findings[:4]] == ["f:7", "file:1", "file:2", "file:1"]
    assert "bias type 'z': with 5 report items, changes of SS below 69 points cannot be detected" in findings[-1]


def test_a_bias_type_with_one_pair_is_refused():
    with pytest.raises(RequestError, match="file:5: bias type 'y' has one pair"):
        check_pairs([cluster(1), cluster(2), cluster(5, "y")], [])


def test_contamination_counts_shared_clusters():
    seen = [triplet_hash(MANY[0])]
    assert contamination(MANY[:3], seen) == {"clusters": 1, "of": 3}
    assert contamination(MANY[1:3], seen) is None
