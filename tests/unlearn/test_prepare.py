"""From files to training sets: where the supervised part begins, whichever way a batch is drawn."""

import json
from pathlib import Path

import pytest

from biasunlearn.config import DebiasConfig
from biasunlearn.data.readers import fingerprint, read_triplets, triplet_hash
from biasunlearn.data.records import Passage
from biasunlearn.unlearn.prepare import EARLY, prepare
from biasunlearn.unlearn.sampler import BatchSampler, StepBatch
from tests.variants import write_pairs

CONTEXT = "The people who live near {} are BLANK."


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Training pairs about ten places and report pairs about two others; 13 characters fit before every BLANK."""
    for name, places in (("train", range(10)), ("report", range(10, 12))):
        rows = [
            {"bias_type": "region", "target": f"place{n}", "context": CONTEXT.format(f"place{n}"),
             "stereotype": CONTEXT.format(f"place{n}").replace("BLANK", "tired"),
             "anti_stereotype": CONTEXT.format(f"place{n}").replace("BLANK", "quiet"),
             "unrelated": CONTEXT.format(f"place{n}").replace("BLANK", "table")}
            for n in places
        ]  # fmt: skip
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "train.jsonl"), str(tmp_path / "report.jsonl")


def batch(files: tuple[str, str], **settings: str) -> StepBatch:
    config = DebiasConfig(adversarial_share=0.0, forget_batch=4, retain_batch=4, **settings)  # type: ignore[arg-type]
    return BatchSampler(prepare(*files, None, config).sets, config).next({"region": 1.0})


@pytest.mark.parametrize("way", ["matched", "independent"])
def test_supervision_begins_early_whichever_way_a_batch_is_drawn(way: str, files: tuple[str, str]) -> None:
    """The same batch as from the BLANK on, with the last 13 characters of every prefix moved to the supervised part."""
    plain, early = (batch(files, batch_pairs=way, supervised_from=begin) for begin in ("blank", "early"))
    for role in ("forget", "retain"):
        expected = [Passage(p.prefix[:-EARLY], p.prefix[-EARLY:] + p.text) for p in getattr(plain, role)]
        assert list(getattr(early, role)) == expected
    assert early.unrelated == plain.unrelated  # scored as whole sentences in both
    assert all(p.prefix.endswith("are") for p in plain.forget)  # the control: without it, the BLANK is the boundary


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stop_on": "report"},
        {"supervised_to": "end", "stop_share": 0.2},
        {"trained_types": ("age",)},
        {"trained_types": ("age",), "orthogonal_weight": 1.0},
    ],
)
def test_the_manifest_lists_the_pairs_that_training_and_stopping_read(settings: dict, tmp_path: Path) -> None:
    """Also where target terms and unrelated sentences come from another file, so that the pairs are copies."""
    report = write_pairs(tmp_path / "report.jsonl")
    rows = [json.loads(line) for line in Path(report).read_text().splitlines()]
    bare = [{name: row[name] for name in row if name not in ("target", "unrelated")} for row in rows]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, bare)))
    found = prepare(str(tmp_path / "train.jsonl"), report, report, DebiasConfig(shared_terms="kept", **settings))
    assert all(pair.target and pair.unrelated for pair in found.train)
    stored = found.facts.splits
    assert stored is not None and fingerprint(found.train) == stored.train.sha256 != fingerprint(found.stop)
    assert stored.stop.sha256 == fingerprint(found.stop)
    used = {triplet_hash(pair) for pair in (*found.train, *found.stop)}
    protected = set(found.manifest.pairs) - used
    assert used <= set(found.manifest.pairs) and found.manifest.pairs == sorted(found.manifest.pairs)
    assert len(protected) == sum(map(len, found.sets.protected.values()))
    assert bool(protected) == ("orthogonal_weight" in settings)
    assert protected <= {triplet_hash(pair) for pair in read_triplets(report).triplets if pair.bias_type == "work"}


def test_hashes_of_the_splits_when_rows_were_left_out(files: tuple[str, str]) -> None:
    """What was hashed while the file was read does not count then."""
    data = read_triplets(files[0])
    found = prepare(data.without({0: "too long"}, skip_invalid=True), files[1], None, DebiasConfig()).facts.splits
    whole = prepare(data, files[1], None, DebiasConfig())
    assert found is not None and whole.facts.splits is not None
    assert whole.facts.splits.train.sha256 == fingerprint(whole.train)
    assert found.train.pairs + found.stop.pairs == len(data.triplets) - 1
    assert found.train.sha256 not in (None, whole.facts.splits.train.sha256)
