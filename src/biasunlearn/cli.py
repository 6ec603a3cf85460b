"""The command line: parses, calls one function, prints. Nothing heavy is imported before it is needed."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biasunlearn._version import __version__
from biasunlearn.config import DTYPES
from biasunlearn.errors import DataError, RequestError, WriteError
from biasunlearn.runs.atomic import is_first

if TYPE_CHECKING:
    from biasunlearn.runs.results import Results

DONE, REFUSED, WRONG_REQUEST, BROKE, INTERRUPTED = 0, 1, 2, 3, 130
SHOWN_PROBLEMS = 20
"""Skipped rows listed on the terminal; all of them are in results.json."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command. 0 done, 1 ran and the answer is no, 2 wrong request, 3 it broke, 130 interrupted."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed) or DONE)
    except DataError as error:
        print(f"biasunlearn: {error}", file=sys.stderr)
        return WRONG_REQUEST
    except RequestError as error:
        print(f"biasunlearn: {' '.join(str(error).split())}", file=sys.stderr)
        return WRONG_REQUEST
    except WriteError as error:
        print(f"biasunlearn: {' '.join(str(error).split())}", file=sys.stderr)
        return BROKE
    except KeyboardInterrupt:
        print("biasunlearn: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return DONE
    except Exception as error:
        if parsed.traceback:
            raise
        print(f"biasunlearn: it broke: {type(error).__name__}: {error} (--traceback shows where)", file=sys.stderr)
        return BROKE


# --- commands ------------------------------------------------------------------------------------------------------


def _measure(args: argparse.Namespace) -> int:
    from biasunlearn.commands.measure import measure

    with _progress(args) as (progress, _):
        results = measure(
            args.model,
            _named_paths(args.benchmark),
            adapter=args.adapter,
            out=args.out,
            dtype=args.dtype,
            skip_invalid=args.skip_invalid,
            trust_remote_code=args.trust_remote_code,
            resume=args.resume,
            asking=_asking(args),
            progress=progress,
        )
    return _show(args, results)


def _probe(args: argparse.Namespace) -> int:
    from biasunlearn.commands.probe import probe
    from biasunlearn.report.terminal.probes import probe_table

    with _progress(args) as (progress, _):
        results = probe(
            args.model, data=args.data, out=args.out, adapter=args.adapter, layers=args.layers, pooling=args.pool,
            groups=args.groups, seed=args.seed, dtype=args.dtype, skip_invalid=args.skip_invalid,
            trust_remote_code=args.trust_remote_code, progress=progress,
        )  # fmt: skip
    return _show(args, results, probe_table)


def _rescore(args: argparse.Namespace) -> int:
    from biasunlearn.commands.measure import rescore

    return _show(args, rescore(_named_paths(args.benchmark), args.scores, out=args.out, skip_invalid=args.skip_invalid))


def _debias(args: argparse.Namespace) -> int:
    from biasunlearn.commands.debias import Interrupted, debias
    from biasunlearn.commands.tracking import tracked
    from biasunlearn.config import load_config, to_dict

    config = load_config(args.config, [*([f"method={args.method}"] if args.method else ()), *args.set])
    try:
        with (
            _progress(args) as (progress, shown),
            tracked(args.track or (), args.out, to_dict(config), shown) as on_step,
        ):
            results = debias(
                args.model,
                train=args.train,
                unrelated=args.unrelated,
                report=args.report,
                out=args.out,
                config=config,
                benchmarks=_named_paths(args.benchmark),
                skip_invalid=args.skip_invalid,
                trust_remote_code=args.trust_remote_code,
                resume=args.resume,
                asking=_asking(args),
                progress=progress,
                say=_say,
                on_step=on_step,
            )
    except Interrupted as stop:
        print(f"biasunlearn: {stop}", file=sys.stderr)
        return INTERRUPTED
    return _show(args, results)


def _ablate(args: argparse.Namespace) -> int:
    from biasunlearn.commands.ablate import VARIANTS, ablate, ablation_table

    result = _series(args, ablate, seeds=args.seeds, variants=args.variants or tuple(VARIANTS))
    where = f"stored in {args.out} (ablation.json, one run folder a seed)"
    return INTERRUPTED if result is None else _tell(args, result, ablation_table, where)


def _disentangle(args: argparse.Namespace) -> int:
    from biasunlearn.commands.disentangle import disentangle, matrix_table

    result = _series(args, disentangle, seeds=args.seeds, leave_out=args.leave_out)
    where = f"stored in {args.out} (matrix.json, one run folder a row and seed)"
    return INTERRUPTED if result is None else _tell(args, result, matrix_table, where)


def _sweep(args: argparse.Namespace) -> int:
    from biasunlearn.commands.sweep import sweep, sweep_table

    own = {"trials": args.trials, "seeds": args.seeds, "storage": args.storage, "search_only": args.search_only}
    result = _series(args, sweep, **own)
    return INTERRUPTED if result is None else _tell(args, result, sweep_table, f"stored in {args.out} (sweep.json)")


def _survey(args: argparse.Namespace) -> int:
    from biasunlearn.commands.survey import METHODS, survey, survey_table

    own = {"methods": args.methods or METHODS, "seeds": args.seeds, "text": args.text}
    result = _series(args, survey, config=args.config, changes=args.set, **own)
    where = f"stored in {args.out} (survey.json, report.html, one run folder a method and seed)"
    return INTERRUPTED if result is None else _tell(args, result, survey_table, where)


def _series(args: argparse.Namespace, run: Callable[..., dict[str, Any]], **own: Any) -> dict[str, Any] | None:
    """An experiment of several runs, with what all such take from the command line; None where it was interrupted."""
    from biasunlearn.commands.debias import Interrupted
    from biasunlearn.config import load_config

    own = own if "config" in own else {**own, "config": load_config(args.config, args.set)}
    try:
        with _progress(args) as (progress, on_step):
            return run(
                args.model,
                train=args.train,
                unrelated=args.unrelated,
                report=args.report,
                out=args.out,
                benchmarks=_named_paths(args.benchmark),
                skip_invalid=args.skip_invalid,
                trust_remote_code=args.trust_remote_code,
                progress=progress,
                say=_say,
                on_step=on_step,
                **own,
            )
    except Interrupted:
        print("biasunlearn: stopped; what is finished is stored, and the same command goes on", file=sys.stderr)
        return None


def _demo(args: argparse.Namespace) -> int:
    from biasunlearn.commands.demo import demo, demo_table

    with _progress(args) as (progress, on_step):
        results = demo(args.out, progress=progress, say=_say, on_step=on_step)
    args.out = results.out
    return _show(args, results, lambda _: demo_table(results))


def _counterfactual(args: argparse.Namespace) -> int:
    from biasunlearn.data.counterfactual import counterfactual_pairs, load_term_list
    from biasunlearn.data.readers import read_sentences, write_pairs

    pairs, unswapped = counterfactual_pairs(read_sentences(args.sentences), load_term_list(args.terms), seed=args.seed)
    write_pairs(pairs, args.out)
    for sentence in unswapped:
        print(f"not swapped: {sentence.source}: {sentence.reason}: {sentence.sentence}", file=sys.stderr)
    if args.json:
        listed = [{"source": u.source, "reason": u.reason, "sentence": u.sentence} for u in unswapped]
        json.dump({"pairs": len(pairs), "unswapped": listed}, sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        print(f"{len(pairs)} pairs written to {args.out}, {len(unswapped)} sentences not swapped")
    return DONE


def _export(args: argparse.Namespace) -> int:
    from biasunlearn.commands.export_lm_eval import export_lm_eval

    found = export_lm_eval(_named_paths(args.benchmark), args.out, skip_invalid=args.skip_invalid)
    if args.json:
        json.dump(found, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return DONE
    for task, facts in found["tasks"].items():
        more = [f"{facts[key]} {words}" for key, words in (("skipped", "rows skipped"),
                ("left_out", "intersentence clusters left out")) if facts[key]]  # fmt: skip
        print(f"{task}: {', '.join([str(facts['documents']) + ' documents', *more])}")
    tasks = ",".join(found["tasks"])
    print(f"lm_eval --model hf --model_args pretrained=MODEL --include_path {args.out} --tasks {tasks}")
    return DONE


def _compare(args: argparse.Namespace) -> int:
    from biasunlearn.commands.compare import compare
    from biasunlearn.report.terminal.comparison import comparison_table

    result = compare(args.runs, out=args.out)
    where = f"stored in {args.out} (compare.json, items.parquet)" if args.out else ""
    return _tell(args, result, comparison_table, where)


def _gate(args: argparse.Namespace) -> int:
    from biasunlearn.commands.gate import gate
    from biasunlearn.report.terminal.comparison import gate_table

    result = gate(args.run_folder, args.policy, base=args.base)
    _tell(args, result, gate_table)
    return DONE if result["passed"] else REFUSED


def _transfer(args: argparse.Namespace) -> int:
    from biasunlearn.commands.transfer import transfer
    from biasunlearn.report.terminal.transfer import transfer_table

    with _progress(args) as (progress, on_step):
        results = transfer(
            args.run_folder,
            to=args.to,
            report=args.report,
            out=args.out,
            scales=_scales(args.scale),
            force=args.force,
            also_train=args.also_train,
            dtype=args.dtype,
            benchmarks=_named_paths(args.benchmark),
            skip_invalid=args.skip_invalid,
            trust_remote_code=args.trust_remote_code,
            resume=args.resume,
            asking=_asking(args),
            progress=progress,
            say=_say,
            on_step=on_step,
        )
    return _show(args, results, transfer_table)


def _relearn(args: argparse.Namespace) -> int:
    from biasunlearn.commands.relearn import relearn
    from biasunlearn.report.terminal.relearning import relearning_table

    with _progress(args) as (progress, _):
        results = relearn(
            args.run_folder, on=args.on, report=args.report, out=args.out, steps=args.steps, seeds=args.seeds,
            rate=args.rate, batch=args.batch, length=args.length, benchmarks=_named_paths(args.benchmark),
            skip_invalid=args.skip_invalid, trust_remote_code=args.trust_remote_code, resume=args.resume,
            progress=progress, say=_say,
        )  # fmt: skip
    return _show(args, results, relearning_table)


def _export_run(args: argparse.Namespace) -> int:
    from biasunlearn.commands.export import export

    found = export(
        args.run_folder, out=args.out, merge=args.merge, base_name=args.base_name, license_id=args.license,
        gguf=args.gguf, push=args.push, public=args.public, say=_say,
    )  # fmt: skip
    if args.json:
        json.dump(found, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return DONE
    print(f"{'complete model' if args.merge else 'adapter'} with its card in {args.out}")
    for key in ("gguf", "url"):
        if found[key]:
            print(f"{key}: {found[key]}")
    return DONE


def _combine(args: argparse.Namespace) -> int:
    from biasunlearn.commands.combine import combine
    from biasunlearn.report.terminal.transfer import combination_table

    with _progress(args) as (progress, _):
        results = combine(
            _weights(args.runs), report=args.report, out=args.out, how=args.how,
            benchmarks=_named_paths(args.benchmark), skip_invalid=args.skip_invalid,
            trust_remote_code=args.trust_remote_code, asking=_asking(args), progress=progress,
        )  # fmt: skip
    return _show(args, results, combination_table)


def _playground(args: argparse.Namespace) -> int:
    from biasunlearn.commands.playground import playground

    _say(f"http://127.0.0.1:{args.port} opens in a moment, on this machine only; Ctrl-C ends it")
    playground(args.run_folder, port=args.port)
    return DONE


def _report(args: argparse.Namespace) -> int:
    from biasunlearn.commands.report import write_report

    done = write_report(args.runs, args.out)
    if args.json:
        json.dump(done, sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        print(f"{done['out']}: {len(done['runs'])} run{'s' * (len(done['runs']) > 1)}, {done['bytes'] / 1e6:.2f} MB")
    return DONE


# --- what the user sees ----------------------------------------------------------------------------------------------


def _show(
    args: argparse.Namespace, results: "Results", table: Callable[[dict[str, Any]], Any] | None = None
) -> int:
    """The results as JSON, or as tables with where they are stored. Of several processes the first one speaks."""
    if not is_first():
        return DONE
    if args.json:
        json.dump(results.to_dict(), sys.stdout, indent=2, ensure_ascii=False)
        print()
        return DONE
    from rich.console import Console

    from biasunlearn.report.terminal.run import results_table

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print((table or results_table)(results.to_dict()))
    if stopped := results.stopped:
        kept = f", kept the adapter of step {stopped.best_step}" if stopped.best_step != stopped.step else ""
        console.print(f"stopped at step {stopped.step}: {stopped.reason}{kept}", highlight=False, markup=False)
    skipped = [row for entry in results.benchmarks.entries.values() for row in entry.skipped_rows]
    for row in skipped[:SHOWN_PROBLEMS]:
        console.print(f"skipped {row}", highlight=False, markup=False)
    if len(skipped) > SHOWN_PROBLEMS:
        console.print(f"... and {len(skipped) - SHOWN_PROBLEMS} more, all in results.json")
    if args.out:
        console.print(f"stored in {args.out} (report.html, results.json, items.parquet)", highlight=False, markup=False)
    return DONE


def _tell(
    args: argparse.Namespace, content: dict[str, Any], table: Callable[[dict[str, Any]], Any], last: str = ""
) -> int:
    """A comparison or a gate, as JSON or as tables."""
    if args.json:
        json.dump(content, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return DONE
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(table(content))
    if last:
        console.print(last, highlight=False, markup=False)
    return DONE


def _say(line: str) -> None:
    if is_first():
        print(f"note: {line}", file=sys.stderr)


@contextlib.contextmanager
def _progress(args: argparse.Namespace) -> Iterator[tuple[Callable[..., None], Callable[..., None]]]:
    """Progress on stderr: bars on a terminal, a plain line now and then elsewhere."""
    from biasunlearn.report.terminal.progress import bars, lines

    if not is_first():
        yield (lambda *_: None), (lambda *_: None)
        return
    with bars() if sys.stderr.isatty() else lines() as callbacks:
        yield callbacks


def _named_paths(
    pairs: Sequence[str] | None, option: str = "--benchmark", example: str = "stereoset=dev.json"
) -> dict[str, str]:
    named: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, path = pair.partition("=")
        if not equals or not path or not name:
            raise RequestError(f"{option} {pair}: write NAME=PATH, as in {example}")
        if name in named:
            raise RequestError(f"{option} {name}: given twice")
        named[name] = path
    return named


def _scales(given: Sequence[str]) -> list[float] | None:
    """None where they are to be searched."""
    if list(given) == ["search"]:
        return None
    try:
        return [float(text) for text in given]
    except ValueError:
        raise RequestError(f"--scale {' '.join(given)}: write numbers, as in --scale 0.5 1, or search") from None


def _weights(given: Sequence[str]) -> dict[str, float]:
    """RUN=WEIGHT, or RUN for a weight of 1."""
    weights: dict[str, float] = {}
    for text in given:
        run, equals, weight = text.rpartition("=")
        run, weight = (run, weight) if equals else (text, "1")
        try:
            value = float(weight)
        except ValueError:
            raise RequestError(f"{text}: write RUN=WEIGHT, as in runs/gender=0.5") from None
        if run in weights:
            raise RequestError(f"{run}: given twice")
        weights[run] = value
    return weights


def _asking(args: argparse.Namespace) -> Any:
    from biasunlearn.scoring.protocol import Asking

    return Asking(
        chat_template=args.chat_template,
        classifiers=_named_paths(args.classifier, "--classifier", "toxicity=owner/name"),
        limit_prompts=args.limit_prompts,
        continuations=args.continuations,
        new_tokens=args.new_tokens,
        seed=args.sampling_seed,
        cache=args.generations,
        lm_eval=tuple(task for given in args.lm_eval or () for task in given.split(",") if task),
        lm_eval_limit=args.lm_eval_limit,
    )


class _Parser(argparse.ArgumentParser):
    """One line on stderr for a wrong request, like every other error."""

    def error(self, message: str) -> Any:
        self.exit(WRONG_REQUEST, f"biasunlearn: {message} (see {self.prog} --help)\n")


def _asking_options() -> _Parser:
    """What measure and debias share: how a model is asked."""
    asking = _Parser(add_help=False)
    add = asking.add_argument_group("how the model is asked").add_argument
    add("--chat-template", action="store_true", help="ask through the model's chat template (instruct models)")
    add("--classifier", metavar="NAME=MODEL", action="append",
        help="scores what is written, as in toxicity=owner/name; #LABEL behind it names the label")  # fmt: skip
    add("--limit-prompts", metavar="N", type=int, help="a seeded sample of the prompts to be continued")
    add("--continuations", metavar="N", type=int, help="of each prompt (default: as the benchmark's paper)")
    add("--new-tokens", metavar="N", type=int, help="of a continuation, at most (default: 20)")
    add("--sampling-seed", metavar="N", type=int, default=0, help="draws prompts and continuations (default: 0)")
    add("--generations", metavar="DIR", type=Path,
        help="keep what is written there and draw none of it again (default: generations/ in --out)")  # fmt: skip
    add("--lm-eval", metavar="TASK[,TASK]", action="append", help="capability: tasks of lm-eval, by name or path")
    add("--lm-eval-limit", metavar="N", type=int, help="the first N documents of each task")
    return asking


def _training_options() -> _Parser:
    """What everything that trains shares: data, recipe, where the runs go."""
    training = _Parser(add_help=False)
    add = training.add_argument
    add("--train", metavar="PATH", required=True, help="pairs of stereotypes and anti-stereotypes")
    add("--unrelated", metavar="PATH", help="unrelated sentences: clusters that have them, or a .txt")
    add("--report", metavar="PATH", required=True, help="clusters to report on, never trained on")
    add("--out", metavar="DIR", required=True, help="the run folder to write")
    add("--config", metavar="FILE", help="a YAML file or the name of a recipe (default: biasunlearn)")
    add("--set", metavar="KEY=VALUE", action="append", default=[], help="change one key of the recipe")
    add("--benchmark", metavar="NAME=PATH", action="append", help="measure this too, before and after")
    return training


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="biasunlearn", description="Measure a language model's social bias, unlearn it, prove both.")
    parser.add_argument("--version", action="version", version=f"biasunlearn {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    common = _Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result object to stdout, and nothing else there")
    common.add_argument("--traceback", action="store_true", help="show where it broke, if it breaks")
    reading = _Parser(add_help=False)
    reading.add_argument("--skip-invalid", action="store_true", help="drop wrong rows, counted and listed")
    loading = _Parser(add_help=False)
    loading.add_argument("model", metavar="MODEL", help="a model folder, or a hub name as owner/name")
    loading.add_argument("--trust-remote-code", action="store_true", help="run code that the model repository ships")

    asking = _asking_options()

    demo = commands.add_parser("demo", parents=[common], help="the whole job on a small world with a known bias")
    demo.add_argument("--out", metavar="DIR", help="the run folder to write (default: demo-run)")
    demo.set_defaults(run=_demo)

    measure = commands.add_parser("measure", parents=[common, reading, loading, asking], help="measure a model's bias")
    measure.add_argument("--adapter", metavar="DIR", help="a PEFT adapter to measure the model with")
    measure.add_argument("--benchmark", metavar="NAME=PATH", action="append",
                         help="a benchmark and its file, as in stereoset=dev.json; may be repeated")  # fmt: skip
    measure.add_argument("--out", metavar="DIR", required=True, help="the run folder to write")
    measure.add_argument("--dtype", choices=DTYPES, default="float32", help="of its weights; 4bit, 8bit: bitsandbytes")
    measure.add_argument("--resume", action="store_true", help="go on with a run in --out that was killed")
    measure.set_defaults(run=_measure)

    probe = commands.add_parser("probe", parents=[common, reading, loading], help="what its hidden states give away")
    add = probe.add_argument
    add("--adapter", metavar="DIR", help="a run's adapter: reads the model with it off and on")
    add("--data", metavar="PATH", required=True, help="pairs to read, as for --report")
    add("--out", metavar="DIR", required=True, help="the run folder to write")
    add("--layers", metavar="N", type=int, nargs="+", help="0 is the embeddings (default: up to seven, evenly)")
    add("--pool", choices=("mean", "last"), default="mean", help="over the tokens in which the pair differs")
    add("--groups", metavar="LIST", action="append",
        help="a term list that knows groups, by name or file (default: gender and race)")  # fmt: skip
    add("--seed", metavar="N", type=int, default=0, help="of folds, controls and intervals (default: 0)")
    add("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    probe.set_defaults(run=_probe)

    training = _training_options()
    debias = commands.add_parser("debias", parents=[common, reading, loading, training, asking],
                                 help="unlearn a model's bias")  # fmt: skip
    debias.add_argument("--method", metavar="NAME", help="biasunlearn (default), dpo, equalize, ... (docs/methods.md)")
    debias.add_argument("--resume", action="store_true", help="go on with an interrupted or killed run in --out")
    debias.add_argument("--track", action="append", choices=("tensorboard", "wandb", "mlflow"),
                        help="also tell this tracker as training goes (tensorboard: logs/ in --out)")  # fmt: skip
    debias.set_defaults(run=_debias)

    _experiments(commands, [common, reading, loading, training])
    _elsewhere(commands, common, [common, reading, asking])
    _lasting(commands, [common, reading])
    _around(commands, common, [common, reading])
    return parser


def _experiments(commands: Any, parents: list[_Parser]) -> None:
    """Commands that train several times."""
    survey = commands.add_parser("survey", parents=parents, help="every method under one budget, in one table")
    survey.add_argument("--methods", metavar="NAME", nargs="+", help="some of them only (default: all)")
    survey.add_argument("--seeds", metavar="N", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    survey.add_argument("--text", metavar="FILE", help="ordinary sentences for cda and dropout (default: --unrelated)")
    survey.set_defaults(run=_survey)

    ablate = commands.add_parser("ablate", parents=parents, help="take one part of the method out at a time")
    ablate.add_argument("--seeds", metavar="N", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    ablate.add_argument("--variants", metavar="NAME", nargs="+", help="some of them only (default: all)")
    ablate.set_defaults(run=_ablate)

    disentangle = commands.add_parser("disentangle", parents=parents, help="train on one bias type, report on all")
    disentangle.add_argument("--leave-out", action="store_true", help="train on all but one instead: an unseen type")
    disentangle.add_argument("--seeds", metavar="N", type=int, nargs="+", default=[],
                             help="each row's (default: the recipe's seed alone)")  # fmt: skip
    disentangle.set_defaults(run=_disentangle)

    sweep = commands.add_parser("sweep", parents=parents, help="search the recipe's settings on the stop split")
    sweep.add_argument("--trials", metavar="N", type=int, default=30, help="of the whole study (default: 30)")
    sweep.add_argument("--seeds", metavar="N", type=int, nargs="+", default=[0], help="each trial's (default: 0)")
    sweep.add_argument("--storage", metavar="URL", help="Optuna's database (default: a journal file in --out)")
    sweep.add_argument("--search-only", action="store_true", help="add trials, score nothing: for further machines")
    sweep.set_defaults(run=_sweep)


def _elsewhere(commands: Any, common: _Parser, measuring: list[_Parser]) -> None:
    """Commands that take what a run has learned to other models and other people."""
    transfer = commands.add_parser("transfer", parents=measuring, help="take a debiasing to a variant")
    add = transfer.add_argument
    add("run_folder", metavar="RUN", help="the folder of a debias run")
    add("--to", metavar="MODEL", required=True, help="a variant of its base: whole, or a LoRA, prefix or prompt")
    add("--report", metavar="PATH", required=True, help="clusters to report on, as for debias")
    add("--out", metavar="DIR", required=True, help="the run folder to write")
    add("--scale", metavar="S", nargs="+", default=["search"],
        help="how strongly: numbers (the best of them), or search (default), on the run's stop split")  # fmt: skip
    add("--force", action="store_true", help="go on although the target looks doubtful")
    add("--also-train", action="store_true", help="debias the target itself as well, for comparison")
    add("--dtype", choices=DTYPES, help="of the target; 4bit, 8bit: bitsandbytes (default: as in the run)")
    add("--benchmark", metavar="NAME=PATH", action="append", help="measure this too, before and after")
    add("--trust-remote-code", action="store_true", help="run code that the model repository ships")
    add("--resume", action="store_true", help="go on with a transfer in --out that was killed")
    transfer.set_defaults(run=_transfer)

    export = commands.add_parser("export", parents=[common], help="a run as a repository: adapter or complete model")
    add = export.add_argument
    add("run_folder", metavar="RUN", help="the folder of a debias, transfer or combine run")
    add("--out", metavar="DIR", required=True, help="the folder to write")
    add("--merge", action="store_true", help="a complete model, in the base's precision")
    add("--gguf", metavar="LLAMA_CPP", nargs="?", const="", help="of the merged model, by llama.cpp's own converter")
    add("--base-name", metavar="OWNER/NAME", help="the base's name on the hub, where the run knows a folder")
    add("--license", metavar="ID", help="for the model card, as the hub calls it (apache-2.0, ...)")
    add("--push", metavar="OWNER/NAME", help="upload it to the hub, as a private repository")
    add("--public", action="store_true", help="make that repository public")
    export.set_defaults(run=_export_run)

    combine = commands.add_parser("combine", parents=measuring, help="adapters of several runs as one")
    add = combine.add_argument
    add("runs", metavar="RUN=WEIGHT", nargs="+", help="debias runs on one base; a weight of 1 is as it was learned")
    add("--report", metavar="PATH", required=True, help="clusters to report on, as for debias")
    add("--out", metavar="DIR", required=True, help="the run folder to write")
    add("--how", choices=("cat", "svd", "linear"), default="cat", help="cat (default): the exact sum, ranks added up")
    add("--benchmark", metavar="NAME=PATH", action="append", help="measure this too, before and after")
    add("--trust-remote-code", action="store_true", help="run code that the model repository ships")
    combine.set_defaults(run=_combine)

    playground = commands.add_parser("playground", parents=[common], help="a local page: prompts to base and debiased")
    playground.add_argument("run_folder", metavar="RUN", help="the folder of a debias, transfer or combine run")
    playground.add_argument("--port", metavar="N", type=int, default=7860, help="on 127.0.0.1 (default: 7860)")
    playground.set_defaults(run=_playground)


def _lasting(commands: Any, parents: list[_Parser]) -> None:
    """The command that asks what further training leaves of a debiasing."""
    relearn = commands.add_parser("relearn", parents=parents, help="does it last? fine-tune a debiased model, measure")
    add = relearn.add_argument
    add("run_folder", metavar="RUN", help="the folder of a debias run")
    add("--on", metavar="FILE|stereotypes", required=True, help="a text, or the stereotypes that the run forgot")
    add("--report", metavar="PATH", help="clusters to measure on (default: those of the run)")
    add("--out", metavar="DIR", required=True, help="the run folder to write")
    add("--steps", metavar="N", type=int, nargs="+", default=[0, 25, 50, 100, 200],
        help="when to measure (default: 0 25 50 100 200)")  # fmt: skip
    add("--seeds", metavar="N", type=int, nargs="+", default=[0], help="orders of the text (default: 0)")
    add("--rate", metavar="R", type=float, default=5e-5, help="learning rate (default: 5e-5)")
    add("--batch", metavar="N", type=int, default=16, help="rows of a step (default: 16)")
    add("--length", metavar="N", type=int, default=64, help="tokens of a row of text (default: 64)")
    add("--benchmark", metavar="NAME=PATH", action="append", help="measure this too, as in perplexity=other.txt")
    add("--trust-remote-code", action="store_true", help="run code that the model repository ships")
    add("--resume", action="store_true", help="go on with a relearning in --out that was killed")
    relearn.set_defaults(run=_relearn)


def _around(commands: Any, common: _Parser, reading: list[_Parser]) -> None:
    """Commands that load no model: they make data, or read what runs have stored."""
    counterfactual = commands.add_parser("counterfactual", parents=[common], help="build pairs from sentences alone")
    counterfactual.add_argument("--sentences", metavar="FILE", required=True, help="a .txt, one stereotype a line")
    counterfactual.add_argument("--terms", metavar="LIST", required=True,
                                help="gender, race, religion, profession, or your own list (.yaml, .csv)")  # fmt: skip
    counterfactual.add_argument("--seed", type=int, default=0, help="where a term has several counterparts")
    counterfactual.add_argument("--out", metavar="FILE", required=True, help="the .jsonl of pairs to write")
    counterfactual.set_defaults(run=_counterfactual)

    rescore = commands.add_parser("rescore", parents=reading, help="tables from stored scores, no model")
    rescore.add_argument("--benchmark", metavar="NAME=PATH", action="append",
                         help="stereoset=FILE; not needed for items.parquet")  # fmt: skip
    rescore.add_argument("--scores", metavar="FILE", required=True, help="official predictions, or items.parquet")
    rescore.add_argument("--out", metavar="DIR", required=True, help="the run folder to write")
    rescore.set_defaults(run=_rescore)

    tasks = commands.add_parser("export-lm-eval", parents=reading, help="benchmarks as tasks of lm-eval")
    tasks.add_argument("--benchmark", metavar="NAME=PATH", action="append", help="stereoset=PATH or bbq=PATH")
    tasks.add_argument("--out", metavar="DIR", required=True, help="a folder for lm-eval's --include_path")
    tasks.set_defaults(run=_export)

    compare = commands.add_parser("compare", parents=[common], help="runs against the first of them, item by item")
    compare.add_argument("runs", metavar="RUN", nargs="+",
                         help="run folders, the base first; RUN:before is what RUN began with")  # fmt: skip
    compare.add_argument("--out", metavar="DIR", help="a folder for compare.json and items.parquet")
    compare.set_defaults(run=_compare)

    report = commands.add_parser("report", parents=[common], help="runs as one self-contained HTML page")
    report.add_argument("runs", metavar="RUN", nargs="+", help="run folders; several are set beside each other")
    report.add_argument("--out", metavar="FILE", required=True, help="the .html file to write")
    report.set_defaults(run=_report)

    gate = commands.add_parser("gate", parents=[common], help="hold a run against a policy: exit code 0 or 1")
    gate.add_argument("run_folder", metavar="RUN", help="a run folder")
    gate.add_argument("--policy", metavar="FILE", required=True, help="a YAML file of limits (docs/statistics.md)")
    gate.add_argument("--base", metavar="RUN", help="what falls and rises are measured from (default: RUN:before)")
    gate.set_defaults(run=_gate)
