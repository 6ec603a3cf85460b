"""Readers: every format to triplets, and every kind of wrong row by its place, its field and the fix."""

import gzip
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biasunlearn.data.normal_text import normal_text
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


@pytest.mark.slow
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
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode(), mtime=0))
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
    rest = stereotype.removeprefix(prefix + text)
    assert pair.supervised(pair.stereotype, "difference") == Passage(prefix, text, rest)
    assert stereotype.startswith(prefix + text)
    both = [pair.supervised(side, "difference").text for side in (pair.stereotype, pair.anti_stereotype)]
    rests = [
        side.text[len(prefix) + len(cut) :]
        for side, cut in zip((pair.stereotype, pair.anti_stereotype), both, strict=True)
    ]
    assert rests[0] == rests[1] and all(both)


WORDS = ["The ", "the ", "nurse ", "is ", "kind", "rude", ".", " ", "人", "很", "\u00a0"]
PIECES = st.lists(st.sampled_from(WORDS), max_size=6)


@given(PIECES, PIECES, PIECES, st.sampled_from(["end", "difference"]))
def test_both_sides_at_once_are_each_side_by_itself(begin, one, other, to):
    """Whole sentences again when they are put together; they end before what both share, where something is left."""
    head, first, second = ("".join(parts) for parts in (begin, one, other))
    pair = cluster(f"{head}BLANK.", head + first, head + second)
    sides = pair.supervised_sides(to)
    texts = (pair.stereotype, pair.anti_stereotype)
    assert sides == tuple(pair.supervised(text, to) for text in texts)
    assert [side.prefix + side.text + side.suffix for side in sides] == [text.text for text in texts]
    assert sides[0].suffix == sides[1].suffix and (to == "difference" or not sides[0].suffix)


def test_intersentence_is_conditioned_on_its_context():
    pair = cluster("He is a man.", "He fights.", "He cooks.", "intersentence")
    assert pair.whole(pair.stereotype) == pair.supervised(pair.stereotype) == Passage("He is a man.", " He fights.")


def test_hashes_ignore_case_ids_and_order():
    one, two = cluster("A BLANK.", "A cat.", "A dog."), cluster("A BLANK.", "A fish.", "A dog.")
    shouted = cluster("A BLANK.", "A CAT.", "A DOG.")
    assert triplet_hash(one) == triplet_hash(shouted) != triplet_hash(two)
    assert fingerprint([one, two]) == fingerprint([two, one]) != fingerprint([one])


@given(st.lists(st.text("aA ßİ.\n\u00a0ſ", min_size=1), min_size=3, max_size=3))
def test_a_hash_is_that_of_the_three_texts_each_without_letter_case_and_outer_spaces(texts):
    """Stored hashes of earlier versions, which folded each text on its own, must stay what they are."""

    def digest(parts):
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    pair = cluster(*texts, "intersentence")
    own = digest(text.casefold().strip() for text in texts)[:16]
    assert fingerprint([pair]) == hashlib.sha256(own.encode()).hexdigest()
    assert triplet_hash(pair) == digest(map(normal_text, texts))[:16]


# --- identity --------------------------------------------------------------------------------------------------------


def jsonl(tmp_path, *rows):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def ids(data):
    return [triplet.id for triplet in data.triplets]


def test_repeated_ids_are_wrong_rows_that_name_the_first(tmp_path):
    """Items are joined by their ids: of two pairs with one id only the last would be measured."""
    path = jsonl(tmp_path, *({**PAIR, "id": name, "stereotype": f"Row {n}."} for n, name in enumerate((1, 2, "1", 2))))
    with pytest.raises(DataError) as caught:
        read_triplets(path)
    assert [problem.partition(";")[0] for problem in caught.value.problems] == [
        f"{path}:{line}: field id: the same as in {path}:{line - 2}, so that one of the two would be lost"
        for line in (3, 4)
    ]
    data = read_triplets(path, skip_invalid=True)
    assert ids(data) == ["1", "2"] and len(data.skipped) == 2


def test_ids_that_are_missing_are_places_and_all_ids_equal_is_refused(tmp_path):
    missing = jsonl(tmp_path, {**PAIR, "id": None}, {**PAIR, "id": float("nan")}, {**PAIR, "id": ""}, PAIR)
    assert ids(read_triplets(missing)) == [f"{missing}:{line}" for line in (1, 2, 3, 4)]
    with pytest.raises(DataError, match="and 1 more such rows"):
        read_triplets(jsonl(tmp_path, *[{**PAIR, "id": 7}] * 3))


def test_the_same_id_in_both_kinds_is_two_items(tmp_path):
    content = {"data": {kind: [official()] for kind in ("intrasentence", "intersentence")}}
    path = tmp_path / "both.json"
    path.write_text(json.dumps(content))
    assert ids(read_triplets(path)) == ["c1", "c1"]
    path.write_text(json.dumps({"data": {"intrasentence": [official(), official()]}}))
    with pytest.raises(DataError, match=r"data.intrasentence\[1\]: field id: the same as in"):
        read_triplets(path)


def test_bias_types_and_terms_in_several_spellings_are_one_each_and_are_noted(tmp_path):
    rows = [
        {**PAIR, "bias_type": bias_type, "target": target, "stereotype": f"Row {n}."}
        for n, (bias_type, target) in enumerate(
            [("Gender", "Café owner"), ("gender", "cafe\u0301 owner."), ("GENDER ", "café\u00a0owner"), ("age", "Nan")]
        )
    ]
    data = read_triplets(jsonl(tmp_path, *rows))
    assert [c.bias_type for c in data.triplets] == ["gender", "gender", "gender", "age"]
    assert [c.target for c in data.triplets] == ["Café owner"] * 3 + ["Nan"]
    assert data.notes[0] == "bias types 'Gender' (1) and 'gender' (1) and 'GENDER' (1) are read as one"
    assert data.notes[1].startswith("target terms 'Café owner' (1) and ")
    assert [c.stereotype.text for c in data.triplets] == [f"Row {n}." for n in range(4)]  # scored as it stands


# --- values and shapes -----------------------------------------------------------------------------------------------


def test_missing_values_are_missing_in_every_column(tmp_path):
    gaps = dict.fromkeys(("context", "kind", "target", "unrelated", "bias_type", "id"), float("nan"))
    path = jsonl(tmp_path, {**PAIR, **gaps})
    (pair,) = read_triplets(path).triplets
    assert (pair.context, pair.kind, pair.target, pair.unrelated) == ("", "intrasentence", None, None)
    assert (pair.bias_type, pair.id) == ("unnamed", f"{path}:1")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": 3}, r"field target: must be a text, is a number .3."),
        ({"bias_type": ["gender"]}, "field bias_type: must be a text, is a list"),
        ({"unrelated": "nan"}, "field unrelated: the word 'nan'"),
        ({"context": {"text": "x"}}, "field context: must be a text, is an object"),
        ({"id": [1]}, "field id: must be a text, is a list"),
        ({"stereotype": 5}, "field stereotype: must be a text, is a number"),
        ({"kind": 1}, "field kind: must be a text"),
    ],
)
def test_values_of_another_type(tmp_path, changes, message):
    path = jsonl(tmp_path, {**PAIR, **changes}, PAIR)
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: {message}"):
        read_triplets(path)
    assert len(read_triplets(path, skip_invalid=True).triplets) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": 3}, "field target: must be a text"),
        ({"id": None}, "field id: missing; give one"),
        ({"sentences": [{"gold_label": ["stereotype"]}]}, r"field gold_label: \['stereotype'\]; must be one of"),
        ({"sentences": [{"gold_label": 1}]}, "field gold_label: 1; must be one of"),
        ({"context": 5}, "field context: must be a text"),
    ],
)
def test_values_of_another_type_in_stereoset(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        read_triplets(stereoset_file(tmp_path, [official(**changes), official(id="c2")]))
    data = read_triplets(stereoset_file(tmp_path, [official(**changes), official(id="c2")]), skip_invalid=True)
    assert ids(data) == ["c2"]


def test_a_context_of_stereoset_is_kept_as_it_stands(tmp_path):
    """Its spaces are part of what is scored before a second sentence."""
    (item,) = read_triplets(stereoset_file(tmp_path, [official(context="He came. ")], "intersentence")).triplets
    assert item.whole(item.stereotype).prefix == "He came. "


@pytest.mark.parametrize("sign", ["[MASK]", "<mask>", "___", "__", "{mask}", "{}", "[blank]"])
def test_other_signs_for_the_gap_of_a_template(tmp_path, sign):
    row = {**PAIR, "context": f"Old men are {sign}."}
    data = read_triplets(jsonl(tmp_path, row))
    (pair,) = data.triplets
    assert (pair.kind, pair.context) == ("intrasentence", "Old men are BLANK.")
    assert data.notes == (f"1 templates mark their gap with {sign}: read as BLANK",)
    asked = {**row, "kind": "intersentence"}
    assert read_triplets(jsonl(tmp_path, asked)).triplets[0].context == f"Old men are {sign}."  # as the row says


# --- preference rows -------------------------------------------------------------------------------------------------


def parts(*texts):
    return [{"role": "assistant", "content": [{"type": "text", "text": text} for text in texts]}]


def preference(**changes):
    return {"prompt": None, "chosen": "She fixed it.", "rejected": "He fixed it.", **changes}


@pytest.mark.parametrize(
    ("changes", "context", "stereotype"),
    [
        ({"rejected": parts("He fixed it.")}, "", "He fixed it."),
        ({"rejected": parts("He ", "fixed it.")}, "", "He fixed it."),
        ({"rejected": [{"role": "assistant", "content": "He fixed it."}]}, "", "He fixed it."),
        ({"rejected": {"role": "assistant", "content": "He fixed it."}}, "", "He fixed it."),
        ({"rejected": [{"role": "assistant", "content": ["He fixed it."]}]}, "", "He fixed it."),
        ({"rejected": [{"content": None}, {"content": "He fixed it."}]}, "", "He fixed it."),
        ({"prompt": [{"role": "user", "content": [{"type": "text", "text": "Who?"}]}]}, "Who?", "He fixed it."),
        ({"prompt": [{"content": "Be kind."}, {"content": "Who?"}]}, "Be kind.\nWho?", "He fixed it."),
        ({"prompt": []}, "", "He fixed it."),
        ({"prompt": float("nan")}, "", "He fixed it."),
    ],
)  # fmt: skip
def test_chat_messages_in_all_their_forms(tmp_path, changes, context, stereotype):
    (pair,) = read_triplets(jsonl(tmp_path, preference(**changes))).triplets
    assert (pair.context, pair.stereotype.text, pair.anti_stereotype.text) == (context, stereotype, "She fixed it.")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rejected": None}, "field rejected: missing"),
        ({"rejected": []}, "field rejected: empty"),
        ({"rejected": [{"role": "assistant", "content": None}]}, "field rejected: empty"),
        ({"rejected": [{"role": "assistant"}]}, "field rejected: a message must be an object with role and content"),
        ({"rejected": ["He fixed it."]}, "field rejected: a message must be an object"),
        ({"rejected": [{"content": [{"type": "image", "image": "x"}]}]}, "a part of a message that is not text"),
        ({"rejected": [{"content": [{"type": "text", "text": 5}]}]}, "the text of a message part must be a text"),
        ({"rejected": 5}, "field rejected: must be a text, is a number"),
        ({"prompt": [{"content": {"text": "x"}}]}, "field content: must be a text, is an object"),
    ],
)
def test_messages_without_text(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        read_triplets(jsonl(tmp_path, preference(**changes)))


# --- sources ---------------------------------------------------------------------------------------------------------


def test_rows_in_memory_are_pairs(tmp_path):
    import pandas

    rows = [{**PAIR, "id": "1"}, {**PAIR, "id": "2", "stereotype": "Old men nap."}]
    path = jsonl(tmp_path, *rows)
    for source in (rows, pandas.DataFrame(rows)):
        data = read_triplets(source)
        assert data.triplets[1].stereotype.text == "Old men nap." and data.sha256 == read_triplets(path).sha256
        assert read_triplets(data) is data
    with pytest.raises(RequestError, match="the DataFrame: needs the columns stereotype, anti_stereotype"):
        read_triplets(pandas.DataFrame({"text": ["x"]}))


def test_a_json_list_and_a_folder_without_a_data_set(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([PAIR, {**PAIR, "stereotype": 1}]))
    data = read_triplets(tmp_path / "rows.json", skip_invalid=True)
    assert len(data.triplets) == 1 and "rows.json: row 2: field stereotype" in data.skipped[0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="is a folder without a data set in it; give a file"):
        read_triplets(tmp_path / "empty")


def test_a_line_of_a_text_file_that_cannot_be_used(tmp_path):
    (tmp_path / "u.txt").write_text("One.\u2028Still one.\nTwo\0.\n")
    with pytest.raises(RequestError, match=r"u\.txt:2: field sentence: holds a NUL character"):
        read_unrelated(tmp_path / "u.txt")
    (tmp_path / "u.txt").write_text("One.\u2028Still one.\n\n  Two.\r\n")
    assert read_unrelated(tmp_path / "u.txt")[0] == ("One.\u2028Still one.", "Two.")


# --- any file --------------------------------------------------------------------------------------------------------

WHOLE = {
    "a.csv": "id,stereotype,anti_stereotype,bias_type,unrelated\n1,He ran.,She ran.,gender,\n2,\"A, b.\",C.,age,x y\n",
    "a.tsv": "stereotype\tanti_stereotype\nHe ran.\tShe ran.\n\"Go,\" he said.\tB.\n",
    "a.jsonl": json.dumps(PAIR) + "\n" + json.dumps({"prompt": "x", "chosen": "a", "rejected": parts("b")}) + "\n",
    "a.json": json.dumps({"data": {"intrasentence": [official()], "intersentence": [official()]}}),
}  # fmt: skip
PIECES = [
    b"\0", b"\xff", b'"', b",", b"\t", b"\r", b"\n", b"\\ud83d", b"{", b"[", b"null", b"NaN", b"1" * 30,
    "\u2028".encode(),
]  # fmt: skip


@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path_factory, name, data):
    content = bytearray(WHOLE[name].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        piece = data.draw(st.sampled_from(PIECES))
        content[place : place + data.draw(st.integers(0, 6))] = piece
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(content)
    try:
        found = read_triplets(path, skip_invalid=True)
    except RequestError as refused:
        assert "\n" not in str(refused) and str(path) in str(refused)
        return
    assert len({(c.kind, c.id) for c in found.triplets}) == len(found.triplets)
    for triplet in found.triplets:
        for _, sentence in triplet.sentences():
            assert sentence.text.strip() and sentence.text.encode()
