"""Readers: every format to clusters, and every kind of wrong row by file, line, field and mend."""

import gzip
import json

import pytest

from biasunlearn.data.readers import fingerprint, read_triplets, read_unrelated, triplet_hash
from biasunlearn.data.records import Passage, Sentence, Triplet
from biasunlearn.errors import DataError, RequestError
from tests.shared_data import SHARED, needs_shared

PAIR = {"bias_type": "age", "context": "Old men are BLANK.", "stereotype": "Old men are slow.",
        "anti_stereotype": "Old men are quick."}  # fmt: skip


def stereoset_file(tmp_path, clusters, kind="intrasentence"):
    path = tmp_path / "set.json"
    path.write_text(json.dumps({"version": "1.0", "data": {kind: clusters}}))
    return path


def official(**changes):
    sentences = [
        {"id": f"s{n}", "sentence": text, "labels": [], "gold_label": label}
        for n, (text, label) in enumerate(
            [("A is bad.", "stereotype"), ("A is good.", "anti-stereotype"), ("A is fish.", "unrelated")]
        )
    ]
    return {"id": "c1", "target": "A", "bias_type": "x", "context": "A is BLANK.", "sentences": sentences, **changes}


def test_stereoset_with_empty_labels(tmp_path):
    data = read_triplets(stereoset_file(tmp_path, [official()]))
    (cluster,) = data.triplets
    assert (cluster.target, cluster.bias_type, cluster.kind) == ("A", "x", "intrasentence")
    assert [(role, s.id) for role, s in cluster.sentences()] == [
        ("stereotype", "s0"), ("anti-stereotype", "s1"), ("unrelated", "s2"),
    ]  # fmt: skip


@needs_shared
def test_the_official_dev_split_and_the_training_pairs_are_read_whole():
    dev = read_triplets(SHARED / "data/stereoset/dev.json")
    assert len(dev.triplets) == 2106 + 2123
    pairs = read_triplets(SHARED / "data/stereoset/train_pairs.jsonl")
    assert len(pairs.triplets) == 12766 and not pairs.skipped


def test_hub_layout_as_a_local_folder(tmp_path):
    """The layout of McGill-NLP/stereoset: a configuration per kind, parallel lists, integer class labels."""
    import datasets

    columns = {
        "id": ["c1"], "target": ["A"], "bias_type": ["x"], "context": ["A is BLANK."],
        "sentences": [{"id": ["s0", "s1", "s2"], "sentence": ["A is good.", "A is bad.", "A is fish."],
                       "gold_label": [0, 1, 2]}],
    }  # fmt: skip
    for kind in ("intrasentence", "intersentence"):
        (tmp_path / "hub" / kind).mkdir(parents=True)
        datasets.Dataset.from_dict(columns).to_parquet(str(tmp_path / "hub" / kind / "validation-0.parquet"))
    configs = "\n".join(
        f"- config_name: {kind}\n  data_files:\n  - split: validation\n    path: {kind}/validation-*"
        for kind in ("intersentence", "intrasentence")
    )
    (tmp_path / "hub" / "README.md").write_text(f"---\nconfigs:\n{configs}\n---\n")
    data = read_triplets(tmp_path / "hub")
    assert [c.kind for c in data.triplets] == ["intrasentence", "intersentence"]
    assert data.triplets[0].stereotype.text == "A is bad." and data.triplets[0].unrelated.text == "A is fish."


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".csv", ".tsv", ".parquet"])
def test_pairs_in_every_format_are_the_same_clusters(tmp_path, suffix):
    import pyarrow
    import pyarrow.parquet

    rows = [{**PAIR, "id": "1", "target": "old men", "unrelated": "Old men are fish."}, {**PAIR, "id": "2"}]
    path = tmp_path / f"pairs{suffix}"
    names = list(rows[0])
    separator = "\t" if suffix == ".tsv" else ","
    table = "\n".join([separator.join(names), *(separator.join(r.get(n, "") for n in names) for r in rows)])
    if suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif suffix.endswith(".gz"):
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    else:
        path.write_text(table if suffix in (".csv", ".tsv") else "\n".join(map(json.dumps, rows)))
    first, second = read_triplets(path).triplets
    assert first.stereotype.text == "Old men are slow." and first.target == "old men"
    assert first.unrelated is not None and second.unrelated is None


def test_preference_rows_chosen_is_the_anti_stereotype(tmp_path):
    rows = [
        {"prompt": "I met an old man.", "chosen": "He ran.", "rejected": "He slept."},
        {"prompt": "", "chosen": "Old men run.", "rejected": "Old men sleep.", "bias_type": "age"},
        {"prompt": [{"role": "user", "content": "Hi"}], "chosen": [{"content": "A"}], "rejected": [{"content": "B"}]},
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    inter, intra, chat = read_triplets(tmp_path / "p.jsonl").triplets
    assert (inter.kind, inter.context, inter.stereotype.text) == ("intersentence", "I met an old man.", "He slept.")
    assert (intra.kind, intra.bias_type, intra.anti_stereotype.text) == ("intrasentence", "age", "Old men run.")
    assert (chat.context, chat.anti_stereotype.text) == ("Hi", "A")


def test_any_language_and_any_bias_type(tmp_path):
    row = {"bias_type": "年龄", "stereotype": "老人很慢。", "anti_stereotype": "老人很快。"}
    (tmp_path / "p.jsonl").write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    assert read_triplets(tmp_path / "p.jsonl").triplets[0].bias_type == "年龄"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"stereotype": "x"}', r"a\.jsonl:1: field anti_stereotype: missing; fill it in"),
        ("a.jsonl", json.dumps({**PAIR, "stereotype": "  "}), r"a\.jsonl:1: field stereotype: empty"),
        ("a.jsonl", json.dumps({**PAIR, "kind": "poem"}), r"field kind: 'poem'; must be intrasentence"),
        ("a.jsonl", "{", r"a\.jsonl:1: not JSON"),
        ("a.jsonl", "[1]", r"a\.jsonl:1: must be an object"),
        ("a.csv", "stereotype,other\na,b\n",
         r"a\.csv: needs the columns stereotype, anti_stereotype \(or chosen, rejected\); lacks anti_stereotype"),
        ("a.csv", "stereotype,anti_stereotype\n\"two\nlines\",b\n,c\n", r"a\.csv:4: field stereotype"),
        ("a.json", "{", r"a\.json:1: not JSON"),
        ("a.json", '{"rows": []}', r"a\.json: JSON of another shape"),
        ("a.json", '{"data": {"intrasentence": {}}}', r"must be a list"),
        ("a.parquet", "no", r"not a Parquet file"),
        ("a.doc", "x", r"unknown kind of file"),
        ("a.jsonl", "", r"no usable rows"),
    ],
)  # fmt: skip
def test_wrong_files_are_named_with_the_mend(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(RequestError, match=message):
        read_triplets(tmp_path / name)


def test_wrong_clusters(tmp_path):
    good = official()
    two = official(sentences=[*good["sentences"], good["sentences"][0]])
    none = official(sentences=good["sentences"][1:])
    odd = official(sentences=[{**good["sentences"][0], "gold_label": "Stereotype"}])
    empty = official(bias_type="")
    path = stereoset_file(tmp_path, [good, two, none, odd, empty, "text"])
    with pytest.raises(DataError) as caught:
        read_triplets(path)
    assert len(caught.value.problems) == 5 and "data.intrasentence[1]" in caught.value.problems[0]
    assert "4 more such rows" in str(caught.value)
    data = read_triplets(path, skip_invalid=True)
    assert len(data.triplets) == 1 and len(data.skipped) == 5


def test_missing_files_and_hub_names():
    with pytest.raises(RequestError, match="no such file"):
        read_triplets("/nowhere/pairs.jsonl")


def test_unrelated_from_text_and_from_clusters(tmp_path):
    (tmp_path / "u.txt").write_text("One.\n\nTwo.\n")
    assert read_unrelated(tmp_path / "u.txt")[0] == ("One.", "Two.")
    assert read_unrelated(stereoset_file(tmp_path, [official()]))[0] == ("A is fish.",)
    (tmp_path / "p.jsonl").write_text(json.dumps(PAIR))
    with pytest.raises(RequestError, match="no unrelated sentences"):
        read_unrelated(tmp_path / "p.jsonl")


def cluster(context, stereotype, anti, kind="intrasentence"):
    return Triplet("c", "x", kind, context, Sentence("s", stereotype), Sentence("a", anti))


@pytest.mark.parametrize(
    ("context", "stereotype", "anti", "prefix", "text"),
    [
        ("The BLANK man.", "The poor man.", "The rich man.", "The", " poor man."),
        ("BLANK men run.", "Poor men run.", "Rich men run.", "", "Poor men run."),
        ("My Friend is BLANK.", "My friend is poor.", "My friend is rich.", "My friend is", " poor."),  # case differs
        ("A BLANK, so BLANK.", "A cat, so cat.", "A dog, so dog.", "A", " cat, so cat."),  # two blanks: the first
        ("", "She is kind.", "She is king.", "She is", " kind."),  # no template: the shared words
        ("Something else BLANK.", "He is kind.", "He is cold.", "He is", " kind."),  # template of another sentence
    ],
)  # fmt: skip
def test_supervised_part_begins_at_the_blank(context, stereotype, anti, prefix, text):
    pair = cluster(context, stereotype, anti)
    assert pair.supervised(pair.stereotype) == Passage(prefix, text)
    assert prefix + text == stereotype


@pytest.mark.parametrize(
    ("context", "stereotype", "anti", "prefix", "text"),
    [
        ("The BLANK man ran.", "The poor man ran.", "The rich man ran.", "The", " poor"),
        ("BLANK men run.", "Very poor men run.", "Rich men run.", "", "Very poor"),
        ("He is BLANK.", "He is poor.", "He is rich.", "He is", " poor."),  # a full stop belongs to its word
        ("A BLANK ran.", "A man ran.", "A woman ran.", "A", " man"),  # the cut does not fall into "woman"
        ("A BLANK, so BLANK now.", "A cat, so cat now.", "A dog, so dog now.", "A", " cat, so cat"),  # two blanks
        ("He is BLANK.", "He is poor.", "He is not poor.", "He is", " poor."),  # nothing would be left: the end
        ("", "She is kind to us.", "She is rude to us.", "She is", " kind"),  # no template
    ],
)  # fmt: skip
def test_supervised_part_ends_where_the_sentences_agree_again(context, stereotype, anti, prefix, text):
    pair = cluster(context, stereotype, anti)
    assert pair.supervised(pair.stereotype, "difference") == Passage(prefix, text)
    assert stereotype.startswith(prefix + text)
    both = [pair.supervised(side, "difference").text for side in (pair.stereotype, pair.anti_stereotype)]
    rest = [
        side.text[len(prefix) + len(cut) :]
        for side, cut in zip((pair.stereotype, pair.anti_stereotype), both, strict=True)
    ]
    assert rest[0] == rest[1] and all(both)


def test_intersentence_is_conditioned_on_its_context():
    pair = cluster("He is a man.", "He fights.", "He cooks.", "intersentence")
    assert pair.whole(pair.stereotype) == pair.supervised(pair.stereotype) == Passage("He is a man.", " He fights.")


def test_hashes_ignore_case_ids_and_order():
    one, two = cluster("A BLANK.", "A cat.", "A dog."), cluster("A BLANK.", "A fish.", "A dog.")
    shouted = cluster("A BLANK.", "A CAT.", "A DOG.")
    assert triplet_hash(one) == triplet_hash(shouted) != triplet_hash(two)
    assert fingerprint([one, two]) == fingerprint([two, one]) != fingerprint([one])
