"""`verify`: is what a server answers the debiased model of a run? By its answers, not by what it says it has loaded.

A server that accepts an adapter may still answer with the base model. Texts are chosen on which base and debiased model
differ most, by the model here, and control texts on which they agree. The server is asked for the log-probabilities of
the same tokens; where it gives none, for the likeliest continuations, which decide, and for seeded ones, whose
log-likelihood ratio is reported beside the verdict.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biasunlearn.commands.run_context import Say
from biasunlearn.data.readers import read_triplets
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import AS_THE_RUN, Loading
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.results import Results
from biasunlearn.runs.served_results import ServedItem, ServedResult, ServedVerdict
from biasunlearn.stats.served import LEVEL, MATCHES, OFF, Agreement, agreement, is_on, sign_test

if TYPE_CHECKING:  # torch
    from biasunlearn.scoring.served import ServedModel
    from biasunlearn.scoring.served_prompts import Chosen, TwoStates

CANDIDATES = 60
"""Pairs of the report file, of which the texts are chosen."""
LEAST = 5
"""Texts on which the models must differ: the p-value of fewer cannot reach 5 %."""
CONTROL_LIMIT = 0.1
"""Nats per token by which control texts may differ from their values here (half precision: about 0.01)."""


def verify(
    run: str | Path,
    *,
    endpoint: str,
    model: str,
    base: str | None = None,
    loading: Loading = AS_THE_RUN,
    seed: int = 0,
    say: Say | None = None,
) -> ServedResult:
    """Compares the answers of a server with those of a run's base and debiased model.

    Args:
        run: folder of a debias, transfer or combine run with a LoRA adapter.
        endpoint: address of an OpenAI-compatible server, as http://HOST:PORT/v1.
        model: the name under which the server has the debiased model.
        base: the name of the base model there. With it, only differences at the server are compared, so that another
            precision than the run's does not matter.
        loading: how the model of the run is loaded here.
        seed: of the choice of sentences of the report file.
    Returns:
        The verdict: applied, not applied, partly (another strength, or missing layers) or another model.
    Raises:
        RequestError: no such run or adapter; the server cannot be reached or refuses; the models do not differ.
    """
    from biasunlearn.scoring.served import Prompt, served_models
    from biasunlearn.scoring.served_prompts import TwoStates
    from biasunlearn.scoring.side_by_side import open_run

    results = RunFolder(Path(run)).read_results()
    texts = _texts(results, seed)
    served = served_models(endpoint, [model] if base is None else [model, base])
    for one in served:  # a wrong address or name is reported before a model is loaded
        one.continuation(Prompt(texts[0], ()), 1)
    states = TwoStates(*open_run(Path(run), loading))
    about: dict[str, Any] = {"run": str(run), "endpoint": served[0].url, "model": model}
    about |= {} if base is None else {"base": base}
    found = _by_log_probs(states, served, texts, about)
    if found is not None:
        return found
    if say:
        say("the server gives no log-probabilities of a prompt: continuations are compared, which is weaker")
    return _by_continuations(states, served, texts, about)


def _texts(results: Results, seed: int) -> list[str]:
    """Stereotypes and anti-stereotypes of pairs of the report file; another seed begins at another pair."""
    path = results.data.report.path if results.data.report else None
    if path is None:
        raise RequestError("this run names no report file, whose sentences the server is asked about")
    triplets = read_triplets(path, skip_invalid=True).triplets
    step = max(1, len(triplets) // CANDIDATES)  # from all over the file, which may be sorted by bias type
    triplets = (*triplets[seed % step :], *triplets[: seed % step])
    return [side.text for one in triplets[::step][:CANDIDATES] for side in (one.stereotype, one.anti_stereotype)]


def _by_log_probs(
    states: "TwoStates", served: Sequence["ServedModel"], texts: Sequence[str], about: dict[str, Any]
) -> ServedResult | None:
    """None where the server gives no log-probabilities of a prompt."""
    from biasunlearn.scoring.served_prompts import by_log_prob

    chosen = by_log_prob(states, texts)
    first = served[0].log_prob(chosen[0].prompt)
    again = None if first is None else served[0].log_prob(chosen[0].prompt)  # a refusal is not asked for twice
    if first is None or again is None:
        return None
    items = []
    for one in chosen:
        found = served[0].log_prob(one.prompt)
        bare = served[1].log_prob(one.prompt) if len(served) > 1 else one.base
        if found is None or bare is None:
            return None
        own: dict[str, Any] = {"served_base": bare} if len(served) > 1 else {}
        items.append(
            ServedItem(
                text=one.prompt.text, control=one.control, base=one.base, debiased=one.debiased, served=found, **own
            )  # fmt: skip
        )
    tested = [item for item in items if not item.control]
    _check_enough(len(tested))
    reference = [_minus(item.debiased, item.base) for item in tested]
    agreed = agreement(reference, [_minus(item.served, _bare(item)) for item in tested])
    lengths = {one.prompt.text: len(one.prompt.ids) - 1 for one in chosen}
    off = max((_off(item) / lengths[item.text] for item in items if item.control), default=0.0)
    verdict, reason = _log_prob_verdict(agreed, off)
    return ServedResult(
        **about, how="log-probabilities", verdict=verdict, reason=reason, p=agreed.p, n=len(tested),
        controls=len(items) - len(tested), nearer=agreed.nearer, slope=agreed.slope, correlation=agreed.correlation,
        noise=abs(first - again), control_difference=off, items=items,
    )  # fmt: skip


def _bare(item: ServedItem) -> float | None:
    """log p by the base: at the server where it was asked, else here."""
    return item.base if item.served_base is None else item.served_base


def _minus(first: float | None, second: float | None) -> float:
    assert first is not None and second is not None
    return first - second


def _off(item: ServedItem) -> float:
    """How far a control text is from what it should be, in nats."""
    expected = _minus(item.debiased, item.base)
    return abs(_minus(item.served, _bare(item)) - expected)


def _log_prob_verdict(found: Agreement, off: float) -> tuple[ServedVerdict, str]:
    numbers = f"slope {found.slope:.2f}, correlation {found.correlation:.2f}"
    if off > CONTROL_LIMIT:
        return "another model", (
            f"control texts, on which both models agree, differ from them by up to {off:.2g} nats per token"
        )
    if is_on(found):
        return "applied", f"differences at the server are those of the debiased model ({numbers})"
    if found.slope < OFF:
        return "not applied", f"the answers are those of the base model ({numbers})"
    return "partly", f"the adapter has another strength, or lacks layers ({numbers})"


def _by_continuations(
    states: "TwoStates", served: Sequence["ServedModel"], texts: Sequence[str], about: dict[str, Any]
) -> ServedResult:
    from biasunlearn.scoring.served_prompts import by_continuation

    chosen = by_continuation(states, texts)
    _check_enough(sum(not one.control for one in chosen))
    ids = served[0].takes_ids(chosen[0].prompt)
    items = [_asked(states, served[0], one, ids=ids, seed=seed) for seed, one in enumerate(chosen)]
    tested, controls = ([item for item in items if item.control is kind] for kind in (False, True))
    debiased = sum(item.served_text == item.debiased_text for item in tested)
    as_base = sum(item.served_text == item.base_text for item in tested)
    met = sum(item.served_text == item.base_text for item in controls)
    ratios = [item.ratio for item in tested if item.ratio is not None]
    sampled: dict[str, Any] = {"ratio": sum(ratios)} if ratios else {}
    p = sign_test(debiased, debiased + as_base)
    counts = f"{debiased} of {len(tested)} continuations are those of the debiased model, {as_base} those of the base"
    verdict: ServedVerdict = "partly"
    if controls and met < MATCHES * len(controls):
        verdict, counts = "another model", f"{met} of {len(controls)} control continuations are met; {counts}"
    elif debiased >= MATCHES * len(tested) and p <= LEVEL:
        verdict = "applied"
    elif as_base >= MATCHES * len(tested):
        verdict = "not applied"
    return ServedResult(
        **about, how="continuations", verdict=verdict, reason=counts, p=p, n=len(tested), controls=len(controls),
        nearer=debiased, as_base=as_base, controls_met=met, items=items, **sampled,
    )  # fmt: skip


def _asked(states: "TwoStates", served: "ServedModel", one: "Chosen", *, ids: bool, seed: int) -> ServedItem:
    from biasunlearn.scoring.served_prompts import NEW_TOKENS, likelihood_ratio, same_spaces

    written = same_spaces(served.continuation(one.prompt, NEW_TOKENS, ids=ids))
    drawn: dict[str, Any] = {}
    if not one.control:
        ratio = likelihood_ratio(states, one.prompt, served.continuation(one.prompt, NEW_TOKENS, ids=ids, seed=seed))
        drawn = {} if ratio is None else {"ratio": ratio}
    return ServedItem(
        text=one.prompt.text, control=one.control, base_text=one.base_text, debiased_text=one.debiased_text,
        served_text=written, **drawn,
    )  # fmt: skip


def _check_enough(count: int) -> None:
    if count < LEAST:
        raise RequestError(
            f"base and debiased model of this run differ on {count} texts only, and {LEAST} are needed to tell them "
            "apart; use a server that gives log-probabilities of prompts, or a run with a larger report file"
        )
