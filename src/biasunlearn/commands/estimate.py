"""`measure --dry-run`: the calls and tokens that judged benchmarks need, without a model and without a network."""

from collections.abc import Mapping

from biasunlearn.benchmarks import BENCHMARKS, JUDGED
from biasunlearn.benchmarks.generation import drawn_prompts
from biasunlearn.benchmarks.judged import estimated_calls
from biasunlearn.commands.evaluation import validate_plan, with_data
from biasunlearn.errors import RequestError
from biasunlearn.runs.judged_results import Estimate, EstimateRow
from biasunlearn.scoring.chat_model import ChatRequest, estimated_tokens
from biasunlearn.scoring.endpoint import is_endpoint
from biasunlearn.scoring.judge import RULE, Judge
from biasunlearn.scoring.protocol import EvalOptions, EvalPlan


def estimate(model: str, benchmarks: Mapping[str, str], skip_invalid: bool, options: EvalOptions) -> Estimate:
    """What a model and its judges are asked, at most, if every reply can be read at once.

    Raises:
        RequestError: a wrong request, as `measure` has it; no benchmark has judges.
    """
    plan = with_data(validate_plan(EvalPlan(benchmarks, skip_invalid, options), None))
    judged = [name for name in plan.benchmarks if name in JUDGED]
    if not judged:
        raise RequestError(f"--dry-run: only {', '.join(JUDGED)} make calls that can be counted before")
    rows = []
    for name in judged:
        questions = drawn_prompts(plan.data[name].records, plan.options)
        task = BENCHMARKS[name].task(questions)
        asked, answers = estimated_calls(task, questions, plan.options)
        rows.append(_row(name, model, asked))
        for judge in plan.options.judges or (RULE,):
            if judge != RULE:
                one = Judge(judge, new_tokens=plan.options.judge_tokens)
                rows.append(_row(name, judge, one.estimated_requests(task.rubric, answers)))
    return Estimate(rows=rows)


def _row(benchmark: str, model: str, requests: list[ChatRequest]) -> EstimateRow:
    read, written = estimated_tokens(requests)
    return EstimateRow(
        benchmark=benchmark, model=model, endpoint=is_endpoint(model), calls=len(requests), tokens_in=read,
        tokens_out=written,
    )  # fmt: skip
