"""Group part, wording and subgroups as StereoSet's results have them: scored by a tiny model, checked pair by pair."""

import json
from dataclasses import replace

import pytest

from biasunlearn.benchmarks import stereoset
from biasunlearn.benchmarks.association import association_change, association_fields
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.records import Passage
from biasunlearn.data.referents import replacements
from biasunlearn.data.wording import word_hashes
from biasunlearn.runs.items import read_items, write_items
from biasunlearn.scoring.log_prob import score
from biasunlearn.scoring.protocol import EvalOptions, EvalPlan
from biasunlearn.stats.stereoset import Item, comparisons
from tests import tiny

ROWS = [
    ("nurse", "The nurse is kind.", "The nurse is rude."),
    ("nurse", "A nurse said so.", "A nurse sang so."),
    ("engineer", "An engineer is dull.", "An engineer is fun."),
    ("plumber", "The plumber is loud.", "The plumber is calm."),
    ("poet", "Nobody is named here.", "Nobody is called here."),
]


def write(path, rows=ROWS) -> str:
    path.write_text("".join(
        json.dumps({"id": str(n), "bias_type": "profession", "target": target, "stereotype": s, "anti_stereotype": a,
                    "unrelated": "It rains."}) + "\n"
        for n, (target, s, a) in enumerate(rows)
    ))  # fmt: skip
    return str(path)


@pytest.mark.slow
def test_the_parts_of_every_margin_are_those_of_its_versions(tmp_path) -> None:
    loaded, path = tiny.gpt2(), write(tmp_path / "pairs.jsonl")
    items, result = stereoset.run(loaded, path, EvalPlan())
    rows = {row.cluster: row for row in comparisons(items)}
    for triplet in read_triplets(path).triplets[:4]:
        margins = []
        for one in replacements(triplet):
            first, second = score(loaded, [Passage("", one.stereotype), Passage("", one.anti_stereotype)])
            margins.append(first.mean - second.mean)
        row = rows[triplet.id]
        assert row.wording == pytest.approx(sum(margins) / len(margins), abs=1e-5)
        assert row.group == pytest.approx(row.margin - sum(margins) / len(margins), abs=1e-5)
    assert (rows["4"].group, rows["4"].wording) == (None, None)
    assert result.replaced is not None and result.replaced.pairs == 4 and result.replaced.sentences == 4 * 4 * 2
    assert list(result.replaced.left_out) == ["4: the target term 'poet' is not in both sentences"]
    assert result.overall.n_group == 4 and result.overall.n == 5
    assert result.overall.subgroups is not None and set(result.overall.subgroups) >= {"health", "technology"}


@pytest.mark.slow
def test_the_parts_of_intersentence_pairs_where_there_are_no_others(tmp_path) -> None:
    rows = [{"id": str(n), "bias_type": "profession", "target": "nurse", "kind": "intersentence", "context": context,
             "stereotype": "Everybody is glad.", "anti_stereotype": "Nobody is glad.", "unrelated": "It rains."}
            for n, context in enumerate(("A nurse came in.", "The nurse left.", "Somebody left."))]  # fmt: skip
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = tiny.gpt2()
    items, result = stereoset.run(loaded, str(path), EvalPlan())
    by_id = {row.cluster: row for row in comparisons(items)}
    for triplet in read_triplets(path).triplets[:2]:
        margins = []
        for version in replacements(triplet):
            given = triplet.context.replace("nurse", version.term)
            if version.term[0] in "aeiou":
                given = given.replace("A ", "An ")
            first, second = score(loaded, [Passage(given, " Everybody is glad."), Passage(given, " Nobody is glad.")])
            margins.append(first.mean - second.mean)
        row = by_id[triplet.id]
        assert row.group == pytest.approx(row.margin - sum(margins) / len(margins), abs=1e-5) != 0
    assert by_id["2"].group is None
    assert result.replaced is not None and result.replaced.pairs == 2 and result.overall.n_group == 2
    assert list(result.replaced.left_out) == ["2: the target term 'nurse' is not in the context"]


@pytest.mark.slow
def test_switched_off_nothing_more_is_scored_and_ss_stays(tmp_path) -> None:
    path = write(tmp_path / "pairs.jsonl")
    items, result = stereoset.run(tiny.gpt2(), path, EvalPlan())
    plain, without = stereoset.run(tiny.gpt2(), path, EvalPlan(options=EvalOptions(replacements=0)))
    assert without.replaced is None and without.overall.margin_group is None
    assert all(item.group_part is None for item in plain)
    assert without.overall.ss == result.overall.ss
    assert [one.score for one in plain] == pytest.approx([one.score for one in items], abs=1e-5)


def test_a_version_that_is_too_long_for_the_model_is_left_out_and_counted(tmp_path) -> None:
    """The longest sentence just fits into the model, and does not with a longer term in it."""
    long = "Our nurse is, so to say,"
    rows = [("nurse", "A nurse is old.", "A nurse is sad."), ("nurse", f"{long} in.", f"{long} up.")]
    path = write(tmp_path / "pairs.jsonl", rows)
    plain, _ = stereoset.run(tiny.gpt2(), path, EvalPlan(options=EvalOptions(replacements=0)))
    longest = max(one.tokens for one in plain)
    loaded = tiny.gpt2(n_positions=longest + 1)
    items, result = stereoset.run(loaded, path, EvalPlan())
    assert len(items) == 6 and result.replaced is not None
    assert result.replaced.sentences < 2 * 4 * 2
    assert result.replaced.pairs + len(result.replaced.left_out) == 2


def test_a_user_s_list_names_subgroups_and_what_stands_for_what(tmp_path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "bias_type: profession\ngroups:\n- {family: caring, person: nurse}\n- {family: making, person: plumber}\n"
        "- {family: making, person: engineer}\n"
    )
    plan = EvalPlan(options=EvalOptions(term_lists=(str(tmp_path / "mine.yaml"),)))
    items, result = stereoset.run(tiny.gpt2(), write(tmp_path / "pairs.jsonl"), plan)
    assert {item.target: item.subgroup for item in items} == {
        "nurse": "caring", "engineer": "making", "plumber": "making", "poet": "",
    }  # fmt: skip
    assert result.overall.subgroups is not None and result.overall.subgroups["making"].n == 2


@pytest.mark.slow
def test_ss_apart_by_what_training_has_seen(tmp_path) -> None:
    path = write(tmp_path / "pairs.jsonl")
    trained = word_hashes(read_triplets(path).triplets[:1])
    items, result = stereoset.run(tiny.gpt2(), path, EvalPlan(trained_words=trained))
    seen = result.overall.unseen_wording
    assert seen is not None and seen.both and seen.one and seen.neither
    assert (seen.both.n, seen.one.n, seen.neither.n) == (1, 0, 4)
    again = stereoset.entry(items).overall.unseen_wording
    assert again == seen  # from the items alone
    _, without = stereoset.run(tiny.gpt2(), path, EvalPlan())
    assert without.overall.unseen_wording is None


def made(group: float, wording: float, *, terms: int = 12, pairs: int = 10, seen: str = "both") -> list[Item]:
    """Items of a world in which every margin is the group's part plus the wording's, alternating around them."""
    items = []
    for place in range(terms * pairs):
        cluster, noise = str(place), 0.01 * (-1) ** place
        parts = {"group_part": group + noise, "wording_part": wording + noise}
        for role, value in (("stereotype", group + wording + 2 * noise - 2), ("anti-stereotype", -2.0)):
            items.append(Item("stereoset", f"{cluster}{role}", cluster, "race", f"t{place % terms}", "intrasentence",
                              role, value, 5, seen_wording=seen, **parts))  # fmt: skip
    return items


def test_a_world_with_only_wording_skew_has_no_group_part_and_the_reverse() -> None:
    wording = association_fields(comparisons(made(0.0, 0.5)))
    assert wording["margin_group"].value == pytest.approx(0, abs=1e-12) and wording["ss_group"].value == 50
    assert wording["margin_wording"].value == pytest.approx(0.5)
    group = association_fields(comparisons(made(0.5, 0.0)))
    assert group["margin_wording"].value == pytest.approx(0, abs=1e-12) and group["ss_group"].value == 100


def test_the_change_by_hand() -> None:
    """A group part of 0.2 becomes 0.05: a quarter remains; every term falls, so that p is as small as it can be."""
    change = association_change(made(0.2, 0.0), made(0.05, 0.0))
    assert change is not None and change.overall is not None and change.overall.remaining is not None
    assert change.overall.difference.value == pytest.approx(-0.15)
    assert change.overall.remaining.value == pytest.approx(0.25)
    assert change.overall.p == pytest.approx(2 / 2**12)
    assert set(change.wording) == {"both"} and change.wording["both"].ss.n == 120
    assert change.bias_types["race"] == change.overall


def test_no_share_remains_of_nothing() -> None:
    change = association_change(made(0.0, 0.2), made(0.05, 0.2))
    assert change is not None and change.overall is not None and change.overall.remaining is None
    unknown = [replace(item, group_part=None, seen_wording="") for item in made(0.1, 0)]
    assert association_change(unknown, made(0.1, 0)) is None


def test_what_compare_tests_by_hand_and_items_that_are_read_back(tmp_path) -> None:
    items = made(0.005, 0.5, terms=2, pairs=1, seen="one")  # group parts 0.015 and -0.005
    found = {(o.unit, o.score): o.value for o in stereoset.outcomes(items)}
    assert (found["0", "ss_group"], found["1", "ss_group"]) == (100.0, 0.0)
    assert found["0", "margin_group"] == pytest.approx(0.015) and found["1", "ss_unseen"] == 100.0
    assert not {o.score for o in stereoset.outcomes(made(0.1, 0.1))} & {"ss_unseen"}  # both words were in training
    write_items(tmp_path / "items.parquet", {"": items})
    assert read_items(tmp_path / "items.parquet") == {"": items}
