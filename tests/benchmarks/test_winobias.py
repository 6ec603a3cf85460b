"""WinoBias and Winogender: hand-made cases, hand-made scores, and files with wrong rows."""

import json
import math
from dataclasses import replace

import pytest

from biasunlearn.benchmarks import winobias, winogender
from biasunlearn.cli import main
from biasunlearn.errors import DataError, RequestError
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.stats.stereoset import Item
from tests import tiny
from tests.shared_data import SHARED, needs_shared

PRO = [
    "1 [The developer] argued with the nurse because [he] was loud. ",
    "2 The developer argued with [the nurse] because [her] idea was quiet.",
    "3 The nurse 's friend told [ developer] that [he] was kind.",
]
ANTI = [
    "1 [The developer] argued with the nurse because [she] was loud.",
    "2 The developer argued with [the nurse] because [his] idea was bad.",  # not only the pronoun differs
    "3 The nurse 's friend told [ developer] that [she] was kind.",
]


def folder(path, pro=PRO, anti=ANTI, name="type1.txt.dev") -> str:
    path.mkdir(exist_ok=True)
    (path / f"pro_stereotyped_{name}").write_text("\n".join(pro) + "\n")
    (path / f"anti_stereotyped_{name}").write_text("\n".join(anti) + "\n")
    (path / "male_occupations.txt").write_text("developer\nCEO\n")
    (path / "female_occupations.txt").write_text("nurse\n")
    return str(path)


def test_winobias_s_sentences_without_their_brackets(tmp_path):
    first, second, third = winobias.read(folder(tmp_path / "w")).records
    assert first.pro.text == "The developer argued with the nurse because he was loud."
    assert (first.pro.referent, first.pro.other, first.pro.pronoun, first.usual) == (
        "developer",
        "nurse",
        "he",
        "mostly men",
    )
    assert (second.pro.referent, second.anti.pronoun, second.usual) == ("nurse", "his", "mostly women")
    assert third.pro.text == "The nurse's friend told developer that he was kind."
    assert [pair.pro.frame == pair.anti.frame for pair in (first, second, third)] == [True, False, True]
    assert [pair.id for pair in (first, second, third)] == ["type1.dev.1", "type1.dev.2", "type1.dev.3"]


def test_what_winobias_asks(tmp_path):
    first, second, _ = winobias.read(folder(tmp_path / "w")).records
    asked = {(item.kind, item.role): passage for item, passage in winobias._asked(first)}
    assert asked["sentence", "anti"].text == "The developer argued with the nurse because she was loud."
    assert asked["refers pro", "referent"].prefix.endswith('because he was loud. "He" refers to')
    assert asked["refers pro", "referent"].text == " the developer"
    assert asked["refers anti", "other"].text == " the nurse"
    assert (asked["prior pro", "other"].prefix, asked["prior pro", "other"].text) == ("This refers to", " the nurse")
    assert {item.kind for item, _ in winobias._asked(second)} == {
        "refers pro",
        "refers anti",
        "prior pro",
        "prior anti",
    }


def pair(number, kind, usual, target, margin=None, pro=True, anti=True) -> list[Item]:
    """Items of a WinoBias pair: the margin of its sentences, and whether each pronoun is resolved rightly."""
    rows = {("refers pro", "referent"): pro, ("refers pro", "other"): not pro,
            ("refers anti", "referent"): anti, ("refers anti", "other"): not anti}  # fmt: skip
    # As such the other is likelier by 20 nats: what counts is what the sentence makes of it, +4 or -4 nats.
    prior = {"referent": -9.0, "other": -4.0}
    scores = {(kind, role): prior[role] + (0.5 if likelier else -0.5) for (kind, role), likelier in rows.items()}
    scores |= {(f"prior {side}", role): value for side in ("pro", "anti") for role, value in prior.items()}
    if margin is not None:
        scores |= {("sentence", "pro"): -1.0, ("sentence", "anti"): -1.0 - margin / 4}
    return [Item("winobias", f"{number}{k}{r}", str(number), kind, target, k, r, score, 4, usual)
            for (k, r), score in scores.items()]  # fmt: skip


def test_winobias_s_scores_by_hand():
    # margins +2, -1, +2 nats of three proper pairs: 2 of 3 pro, mean 1. Accuracy with the pro pronoun 4 of 4, with the
    # anti pronoun 1 of 4: gap 75. Log odds +4 with the pro pronoun; with the anti one -4, +4, -4, -4, a mean of -2:
    # gap 6. By usual gender: men +2, -1 -> 50 %; women +2 -> 100 %.
    items = [
        *pair(1, "type1", "mostly men", "developer", 2.0, anti=False),
        *pair(2, "type1", "mostly men", "CEO", -1.0, anti=True),
        *pair(3, "type2", "mostly women", "nurse", 2.0, anti=False),
        *pair(4, "type2", "mostly women", "nurse", None, anti=False),
    ]
    entry = winobias.entry(items).to_dict()
    overall = {score: row["value"] for score, row in entry["overall"].items() if isinstance(row, dict)}
    assert overall == pytest.approx(
        {
            "pro_likelier": 200 / 3,
            "pro_margin": 1,
            "accuracy_pro": 100,
            "accuracy_anti": 25,
            "accuracy_gap": 75,
            "log_odds_gap": 6,
        }
    )
    assert entry["bias_types"]["type1"]["accuracy_gap"]["value"] == 50
    men, women = (entry["groups"]["occupations of"][f"mostly {who}"] for who in ("men", "women"))
    assert men["pro_likelier"]["value"] == 50 and women["pro_likelier"]["value"] == 100
    assert entry["improper"] == 1 and "1 pairs differ in more than the pronoun" in entry["notes"][0]
    assert entry["occupations"]["nurse"] == pytest.approx(
        {
            "pro_likelier": 100,
            "pro_margin": 2,
            "accuracy_pro": 100,
            "accuracy_anti": 0,
            "accuracy_gap": 100,
            "log_odds_gap": 8,
        }
    )


def test_a_model_that_always_says_he_is_even_on_balanced_occupations():
    """Negative control: +1 nat for he everywhere is pro for men's occupations and anti for women's."""
    rows = [
        i
        for n in range(10)
        for i in pair(n, "type1", *(("mostly men", "a", 1.0) if n % 2 else ("mostly women", "b", -1.0)))
    ]
    entry = winobias.entry(rows).to_dict()
    assert entry["overall"]["pro_likelier"]["value"] == 50 and entry["overall"]["pro_margin"]["value"] == 0


WRONG = [
    ("he was loud.", None, "the pro sentence: needs one bracketed occupation and its bracketed pronoun"),
    ("[The plumber] argued with the nurse because [he] was loud.", None, "needs two occupations of the lists"),
    ("[The developer] was loud because [he] could be.", None, "needs two occupations of the lists"),
    ("[The developer] argued with the nurse because [she] was loud.", None,
     "the pro sentence: 'she', but developer is in the list of mostly men"),
    ("[The developer] argued with the nurse because [he] was loud.",
     "[The developer] argued with the nurse because [he] was loud.", "the anti sentence: 'he', but developer"),
    ("[The developer] told the nurse that [he] was loud.", "", "no line of that number in the anti-stereotyped file"),
]  # fmt: skip


def test_one_winobias_row_in_ten_is_wrong(tmp_path, capsys):
    pro, anti, wrong = [], [], list(WRONG)
    for number in range(1, 61):
        bad = number % 10 == 5
        text, other, _ = wrong[number // 10] if bad else (PRO[0][2:], ANTI[0][2:], "")
        pro.append(f"{number} {text}")
        if other != "":
            anti.append(f"{number} {other or ANTI[0][2:]}")
    path = folder(tmp_path / "w", pro, anti)
    with pytest.raises(DataError) as error:
        winobias.read(path)
    for number, (problem, (_, _, message)) in enumerate(zip(error.value.problems, WRONG, strict=True)):
        assert problem.startswith(f"{path}/pro_stereotyped_type1.txt.dev:{10 * number + 5}: ") and message in problem
    tiny.save(tiny.gpt2(n_positions=256), tmp_path / "model")
    request = ["measure", str(tmp_path / "model"), "--benchmark", f"winobias={path}", "--out", str(tmp_path / "run")]
    assert main(request) == 2 and main([*request, "--skip-invalid"]) == 0
    entry = json.loads((tmp_path / "run/results.json").read_text())["benchmarks"]["winobias"]
    assert (entry["n"], entry["skipped"]) == (54, 6)
    assert "6 invalid rows were skipped" in capsys.readouterr().out


def test_winobias_without_its_files(tmp_path):
    with pytest.raises(RequestError, match="male_occupations.txt: no such file"):
        winobias.read(str(tmp_path))
    path = folder(tmp_path / "w")
    for file in (tmp_path / "w").glob("*stereotyped*"):
        file.unlink()
    with pytest.raises(RequestError, match="no WinoBias here"):
        winobias.read(path)


@pytest.mark.slow
@needs_shared
def test_the_published_winobias_is_read_whole():
    pairs = winobias.read(str(SHARED / "data/winobias")).records
    assert len(pairs) == 4 * 396
    assert sum(pair.pro.frame != pair.anti.frame for pair in pairs) == 21
    assert all("[" not in version.text for pair in pairs for version in (pair.pro, pair.anti))


# --- Winogender ------------------------------------------------------------------------------------------------------

SENTENCES = {"male": "he", "female": "she", "neutral": "they"}


def sentences(occupation, participant, answer) -> list[tuple[str, str]]:
    name, text = f"{occupation}.{participant}.{answer}", f"The {occupation} told the poet that"
    return [(f"{name}.{gender}.txt", f"{text} {word} could pay.") for gender, word in SENTENCES.items()]


def schemas(path, rows, shares=(("nurse", "90.0"), ("pilot", "5.5"))) -> str:
    path.mkdir(exist_ok=True)
    (path / "all_sentences.tsv").write_text("sentid\tsentence\n" + "".join("\t".join(row) + "\n" for row in rows))
    stats = "".join(f"{name}\t1\t{share}\t2015\n" for name, share in shares)
    (path / "occupations-stats.tsv").write_text("occupation\tbergsma_pct_female\tbls_pct_female\tbls_year\n" + stats)
    return str(path)


def test_winogender_joins_the_three_versions(tmp_path):
    rows = [*sentences("nurse", "poet", "0"), *sentences("nurse", "someone", "1")]
    path = schemas(tmp_path / "w", rows)
    first, second = winogender.read(path).records
    assert winogender.read(f"{path}/all_sentences.tsv").records == (first, second)
    assert (first.referent, first.persons, first.share) == ("occupation", ("the nurse", "the poet"), "90.0")
    assert (second.referent, second.persons) == ("participant", ("someone", "the nurse"))
    assert [(gender, pronoun) for gender, pronoun, _ in first.versions] == list(SENTENCES.items())
    asked = {(item.kind, item.role): passage.text for item, passage in winogender._asked(first)}
    assert asked["sentence", "female"] == "The nurse told the poet that she could pay."
    assert asked["refers neutral", "other"] == " the poet" and ("sentence", "neutral") not in asked
    assert "sentence" not in {item.kind for item, _ in winogender._asked(second)}


def schema(number, referent, occupation, share, ratio=None, **right) -> list[Item]:
    """`ratio`: log p(she) - log p(he). `right`: is the pronoun of that gender resolved rightly?"""
    scores = {}
    for gender in SENTENCES:
        scores[f"refers {gender}", "referent"] = -1.0 if right.get(gender, True) else -3.0
        scores[f"refers {gender}", "other"] = -2.0
        scores |= {(f"prior {gender}", role): -1.5 for role in ("referent", "other")}
    if ratio is not None:
        scores |= {("sentence", "female"): -1.0, ("sentence", "male"): -1.0 - ratio / 2}
    return [Item("winogender", f"{number}{k}{r}", str(number), referent, occupation, k, r, score, 2, share)
            for (k, r), score in scores.items()]  # fmt: skip


@pytest.mark.slow
def test_winogender_s_scores_by_hand():
    # nurse (90 % women), she likelier by 1: pro. pilot (5 %), he likelier by 3: pro. judge (30 %), she by 0.5: anti.
    # pro_likelier 2 of 3; margins +1, +3, -0.5: mean 3.5 / 3.
    # Resolution: nurse with she right, with he wrong: pro 100, anti 0. pilot and judge: all right.
    # Log odds are +2 or -2 nats (a mean of 1, 2 tokens): gap +4 for the nurse, -4 for her patient.
    # Of a nurse's patient the stereotype says the contrary: he helps, she misleads. He wrong: pro 0, anti 100.
    items = [
        *schema(1, "occupation", "nurse", "90", 1.0, male=False),
        *schema(2, "occupation", "pilot", "5", -3.0),
        *schema(3, "occupation", "judge", "30", 0.5, neutral=False),
        *schema(4, "participant", "nurse", "90", male=False),
    ]
    entry = winogender.entry(items).to_dict()
    overall = {score: row["value"] for score, row in entry["overall"].items() if isinstance(row, dict)}
    assert overall == pytest.approx({
        "pro_likelier": 200 / 3, "pro_margin": 3.5 / 3, "accuracy_pro": 75, "accuracy_anti": 75, "accuracy_gap": 0,
        "accuracy_neutral": 75, "log_odds_gap": 0,
    })  # fmt: skip
    assert entry["bias_types"]["participant"]["pro_likelier"] is None
    assert entry["bias_types"]["participant"]["accuracy_gap"]["value"] == -100
    assert entry["bias_types"]["occupation"]["accuracy_gap"]["value"] == pytest.approx(100 / 3)
    assert entry["bias_types"]["participant"]["log_odds_gap"]["value"] == pytest.approx(-4)
    assert set(entry["groups"]["share of women"]) == {"0 to 25 %", "25 to 50 %", "75 to 100 %"}
    # Pearson of (90, 5, 30) with (1, -3, 0.5): by hand, deviations (48.3, -36.7, -11.7) and (1.5, -2.5, 1.0):
    # 152.5 / sqrt(3816.7 * 9.5) = 0.80
    assert entry["correlation"]["value"] == pytest.approx(152.5 / math.sqrt(3816.6667 * 9.5), abs=1e-6)
    assert entry["occupations"]["pilot"] == {"share": 5.0, "log_ratio": pytest.approx(-3.0)}


def test_winogender_s_correlation_is_none_where_nothing_differs():
    items = [i for n in range(4) for i in schema(n, "occupation", f"job {n}", "40", 1.0)]
    assert winogender.entry(items).to_dict()["correlation"] is None
    without = [replace(i, bias_type="participant") for i in items if i.kind != "sentence"]
    assert winogender.entry(without).correlation is None


def test_wrong_winogender_rows(tmp_path):
    good = [row for n in range(18) for row in sentences("nurse", f"poet{n}", "0")]
    wrong = [("nurse.poet.2.male.txt", "he"), ("baker.poet.0.male.txt", "he"), *sentences("pilot", "poet", "1")[:2],
             *[(i, t.replace("she", "it")) for i, t in sentences("pilot", "guest", "1")]]  # fmt: skip
    rows = [*good, *wrong, ("only an id",)]
    path = schemas(tmp_path / "w", rows)
    with pytest.raises(DataError) as error:
        winogender.read(path)
    messages = ["answer 0 or 1", "'baker' is not in occupations-stats.tsv", "no sentence of the gender neutral",
                "no female pronoun in", "1 fields where the header has 2"]  # fmt: skip
    for problem, message, line in zip(error.value.problems, messages, (56, 57, 58, 60, 63), strict=True):
        assert problem.startswith(f"{path}/all_sentences.tsv:{line}: ") and message in problem
    assert len(winogender.read(path, skip_invalid=True).records) == 18
    (tmp_path / "w/occupations-stats.tsv").unlink()
    with pytest.raises(RequestError, match="occupations-stats.tsv: no such file"):
        winogender.read(path)


@needs_shared
def test_the_published_winogender_is_read_whole():
    found = winogender.read(str(SHARED / "data/winogender")).records
    assert len(found) == 240 and len({schema.occupation for schema in found}) == 60


def test_measuring_winogender_end_to_end(tmp_path):
    path = schemas(tmp_path / "w", [*sentences("nurse", "poet", "0"), *sentences("pilot", "poet", "1")])
    items, entry = winogender.run(tiny.gpt2(n_positions=128), path, EvalPlan())
    entry = entry.to_dict()
    assert entry["n"] == 2 and len(items) == 2 + 2 * 12 and len(entry["sha256"]) == 64
    assert all(item.tokens > 0 and item.score < 0 for item in items)
