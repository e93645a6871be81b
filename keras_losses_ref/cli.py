"""The command line: argparse and nothing else. TensorFlow loads when a command runs."""

import argparse
import contextlib
import os
import sys

from keras_losses_ref import backend
from keras_losses_ref.backend import BackendError

OK, DIFFERENCE, USAGE, INTERNAL = 0, 1, 2, 3

_FORMATS = ("text", "json", "md", "html", "junit")

#: The packages of our extras. The error about a missing one names its extra.
_EXTRAS = ("rich", "jinja2", "matplotlib")

_EPILOG = (
    "exit codes: 0 conforms; 1 a difference was found; 2 usage, unreadable file, "
    "import failure, or nothing selected; 3 internal error"
)

_LOSS = "a class such as Huber (default: all)"
_PATH = "record only these: eager, graph, ..."
_OUTPUT = "write to FILE instead of stdout"

_BISECT_EXAMPLE = (
    "bisect 'mean_squared_error/no_weight_all_masked[float16,sum_over_batch_size,eager]"
    "' keras==3.4.1 keras==3.15.1"
)


class UsageError(Exception):
    """A mistake that the user can mend; printed in one line, exit code 2."""


def run() -> None:
    """The console script."""
    sys.exit(_run(sys.argv[1:], _filtered))


def _filtered():
    from keras_losses_ref.conformance.chatter import filtered

    return filtered()


def main(argv: list[str]) -> int:
    """The command line without the process: returns the exit code."""
    return _run(argv, contextlib.nullcontext)


def _run(argv, stderr):
    """The exit code of a command that runs within the context `stderr()`."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has said why
        return stop.code
    import logging

    # TensorFlow prints its errors; the filter of stderr drops the notices among them.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # A check that runs beside a training, or beside its own child, must share the GPU.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with stderr() if arguments.needs_host else contextlib.nullcontext():
        return _command(arguments)


def _command(arguments):
    from keras_losses_ref.conformance.unusable import Unusable, import_host

    try:
        if arguments.needs_host:
            backend.known()  # refuses a backend that is not supported
            import_host()
        return arguments.command(arguments)
    except (UsageError, Unusable) as error:
        return _fail(error)
    except BackendError as error:
        return _fail(error)
    except ModuleNotFoundError as error:
        if error.name == "tensorflow":
            from keras_losses_ref import _NO_TENSORFLOW

            return _fail(_NO_TENSORFLOW)
        return _fail(error) if error.name in _EXTRAS else _crash()
    except OSError as error:
        return _fail(error)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was written")
    except Exception:
        return _crash()


def _fail(error):
    print(f"keras-losses-ref: {error}", file=sys.stderr)
    return USAGE


def _crash():
    import traceback

    traceback.print_exc()
    print(
        "keras-losses-ref: internal error; please report it with the lines above",
        file=sys.stderr,
    )
    return INTERNAL


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-losses-ref",
        description="Check Keras's losses and ours against their definition.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser(
        "check",
        help="test the installed Keras, our losses, or a loss of your own",
        epilog=_EPILOG,
    )
    check.add_argument(
        "loss",
        nargs="*",
        help="a class such as Huber (default: all), or a loss of your own such as "
        "my_package.losses:MyLoss",
    )
    own = check.add_argument_group("for a loss of your own")
    own.add_argument(
        "--domain",
        help="its inputs: binary, one_hot, indices, real, ..., or my_module:draw, a "
        "function (rng, n) -> (y_true, y_pred)",
    )
    own.add_argument(
        "--with",
        dest="arguments",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of its constructor, such as gamma=2",
    )
    own.add_argument(
        "--declare",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="an intended property: batch_wise, random, non_negative, zero_at_perfect",
    )
    own.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="CHECK=REASON",
        help="a check that is expected to fail, and why",
    )
    own.add_argument(
        "--checks",
        action="append",
        default=[],
        metavar="NAME,...",
        help="run only these checks",
    )
    check.add_argument(
        "--case", action="append", metavar="ID", help="run only these: an id or a glob"
    )
    check.add_argument(
        "--path",
        action="append",
        help="run only these: eager, graph, xla, nested, fit or reloaded",
    )
    check.add_argument(
        "--dtype", action="append", help="run only these: float32, float16, ..."
    )
    size = check.add_mutually_exclusive_group()
    size.add_argument(
        "--fast",
        action="store_true",
        help="run all cases in eager mode and a subset compiled (default)",
    )
    size.add_argument(
        "--full", action="store_true", help="run every dtype on every path"
    )
    check.add_argument(
        "--device",
        default="CPU:0",
        help="such as GPU:0 (default: CPU:0); all: the CPU and every GPU",
    )
    check.add_argument(
        "--jobs", type=int, help="processes (default: one a core where it pays)"
    )
    _add_report_options(check)
    check.add_argument(
        "--all", action="store_true", help="also show the results that agree"
    )
    check.add_argument(
        "--verbose",
        action="store_true",
        help="also show what each ledger entry says, and what ran, loss by loss",
    )
    check.set_defaults(command=_check, needs_host=True)

    plot = commands.add_parser(
        "plot", help="draw the curve of each loss and of its gradient"
    )
    plot.add_argument("loss", nargs="*", help=_LOSS)
    plot.add_argument("--format", default="svg", choices=("svg", "png"))
    plot.add_argument(
        "--output", default=".", metavar="FOLDER", help="default: the current folder"
    )
    plot.set_defaults(command=_plot, needs_host=True)

    atlas = commands.add_parser(
        "atlas",
        help="measure how far our losses and Keras's are from the exact value",
        epilog=_EPILOG,
    )
    atlas.add_argument("loss", nargs="*", help=_LOSS)
    atlas.add_argument("--path", action="append", choices=("eager", "graph", "xla"))
    atlas.add_argument(
        "--seed", type=int, default=0, help="seed of the inputs (default: 0)"
    )
    atlas.add_argument(
        "--output", metavar="FOLDER", help="also write a page with pictures to FOLDER"
    )
    atlas.set_defaults(command=_atlas, needs_host=True)

    bench = commands.add_parser(
        "bench",
        help="measure the speed and memory of our losses against Keras's",
        epilog=_EPILOG,
    )
    bench.add_argument("loss", nargs="*", help=_LOSS)
    bench.add_argument(
        "--path",
        action="append",
        choices=("eager", "graph", "xla", "small", "lengths", "lengths-none"),
    )
    bench.add_argument(
        "--fast", action="store_true", help="measure one large shape of each loss"
    )
    bench.add_argument(
        "--memory", action="store_true", help="measure memory instead of time"
    )
    bench.add_argument(
        "--device",
        help="such as GPU:0: measure there, within minutes, its memory too",
    )
    _add_report_options(bench, ("text", "json", "md"))
    bench.set_defaults(command=_bench, needs_host=True)

    list_ = commands.add_parser("list", help="list losses, cases, or known deviations")
    list_.add_argument("--cases", action="store_true", help="every case and its reason")
    list_.add_argument(
        "--deviations", action="store_true", help="the known deviations of Keras"
    )
    list_.add_argument(
        "--format",
        default="text",
        choices=("text", "md", "json"),
        help="of --deviations (default: text)",
    )
    list_.add_argument("--output", metavar="FILE", help=_OUTPUT)
    list_.set_defaults(command=_list, needs_host=False)
    _add_parity_commands(commands)
    return parser


def _add_parity_commands(commands):
    """Add `record`, `compare`, `upgrade` and `bisect`."""
    own = "a loss of your own, package.module:name; may be repeated"

    record = commands.add_parser(
        "record",
        help="record what every loss does in this environment",
        epilog=_EPILOG,
    )
    record.add_argument("file", metavar="FILE", help="the record to write, JSON")
    record.add_argument("--loss", action="append", default=[], help=own)
    record.add_argument(
        "--model",
        action="append",
        default=[],
        help="a .keras model of your own, with --data",
    )
    record.add_argument(
        "--data",
        action="append",
        default=[],
        help="an .npz for the model: x, y, sample_weight",
    )
    record.add_argument(
        "--case", action="append", metavar="ID", help="record only these: ids or globs"
    )
    record.add_argument("--path", action="append", help=_PATH)
    record.add_argument(
        "--device", default="CPU:0", help="such as GPU:0 (default: CPU:0)"
    )
    # For `upgrade`, which shows the progress of its two children.
    record.add_argument("--progress", action="store_true", help=argparse.SUPPRESS)
    record.set_defaults(command=_record, needs_host=True)

    compare = commands.add_parser(
        "compare", help="show what changed between two records", epilog=_EPILOG
    )
    kept = "a record, or one of docs/versions/*.json"
    compare.add_argument("old", metavar="OLD", help=kept)
    compare.add_argument("new", metavar="NEW", help=kept)
    compare.add_argument(
        "--intermediate",
        metavar="FILE",
        help="a record of the new TensorFlow with the old Keras, to tell what each of "
        "them changed",
    )
    compare.add_argument("--between", dest="intermediate", help=argparse.SUPPRESS)
    _add_comparison_options(compare)
    compare.set_defaults(command=_compare, needs_host=False)

    upgrade = commands.add_parser(
        "upgrade",
        help="build two environments, record in each, and compare",
        epilog='for example: upgrade "tensorflow-cpu==2.15.1" '
        f'"tensorflow-cpu==2.21.0 keras==3.15.1". {_EPILOG}',
    )
    requirements = "requirements in one string, or a file of them"
    upgrade.add_argument("old", metavar="OLD", help=requirements)
    upgrade.add_argument("new", metavar="NEW", help=requirements)
    upgrade.add_argument("--loss", action="append", default=[], help=own)
    upgrade.add_argument("--model", action="append", default=[], help="as in record")
    upgrade.add_argument("--data", action="append", default=[], help="as in record")
    upgrade.add_argument(
        "--case", action="append", metavar="ID", help="record only these: ids or globs"
    )
    upgrade.add_argument("--path", action="append", help=_PATH)
    upgrade.add_argument(
        "--isolate-tensorflow",
        action="store_true",
        help="also record the new TensorFlow with the old Keras, to tell what each of "
        "them changed",
    )
    upgrade.add_argument(
        "--apart",
        dest="isolate_tensorflow",
        action="store_true",
        help=argparse.SUPPRESS,
    )
    upgrade.add_argument(
        "--html", metavar="FILE", help="also write the report as a page"
    )
    upgrade.add_argument("--keep", metavar="FOLDER", help="keep the records there")
    _add_environment_options(upgrade)
    _add_comparison_options(upgrade)
    upgrade.set_defaults(command=_upgrade, needs_host=False)

    bisect = commands.add_parser(
        "bisect",
        help="find the release of Keras or TensorFlow that changed an answer",
        epilog=f"for example: {_BISECT_EXAMPLE}. {_EPILOG}",
    )
    bisect.add_argument("id", metavar="ID", help="as compare prints it")
    bisect.add_argument("old", metavar="OLD", help=requirements)
    bisect.add_argument("new", metavar="NEW", help="the same, except for one package")
    _add_environment_options(bisect)
    bisect.add_argument("--output", metavar="FILE", help=_OUTPUT)
    bisect.set_defaults(command=_bisect, needs_host=False)


def _add_environment_options(parser):
    parser.add_argument(
        "--python", default="", help="a version or a path (default: the Python in use)"
    )
    parser.add_argument(
        "--requirements",
        action="append",
        default=[],
        metavar="FILE",
        help="further requirements of every environment",
    )
    parser.add_argument(
        "--find-links", action="append", default=[], help="a folder of packages to use"
    )
    parser.add_argument(
        "--cache", default="", metavar="FOLDER", help="where to keep the environments"
    )
    parser.add_argument(
        "--installer",
        default="",
        choices=("uv", "pip"),
        help="default: uv if installed",
    )


def _add_comparison_options(parser):
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="ID",
        help="a change that was reviewed: an id or a glob",
    )
    parser.add_argument(
        "--accepted", metavar="FILE", help="the same from a file, one a line"
    )
    _add_report_options(parser)


def _add_report_options(parser, formats=_FORMATS):
    parser.add_argument(
        "--format", default="text", choices=formats, help="default: text"
    )
    parser.add_argument("--output", metavar="FILE", help=_OUTPUT)


def _version():
    from keras_losses_ref import __version__

    return f"keras-losses-ref {__version__}"


def _check(arguments):
    own = [name for name in arguments.loss if ":" in name]
    if own:
        if len(own) < len(arguments.loss):
            raise UsageError(
                "one command checks Keras's losses or losses of your own, not both. "
                f"Received: {' '.join(arguments.loss)}. Run it once for each kind."
            )
        return _check_own(own, arguments)
    from keras_losses_ref.conformance import check, report
    from keras_losses_ref.conformance.cases import HANDWRITTEN

    _known(arguments.loss, HANDWRITTEN)
    for option, given in (
        ("--domain", arguments.domain),
        ("--with", arguments.arguments),
        ("--declare", arguments.declare),
        ("--expect", arguments.expect),
        ("--checks", arguments.checks),
    ):
        if given:
            given = given if isinstance(given, str) else " ".join(given)
            raise UsageError(
                f"{option} is for a loss of your own, like my_package.losses:MyLoss. "
                f"Received: {option} {given}. Remove it."
            )
    report.require(arguments.format)
    try:
        cases = check.select(
            arguments.loss,
            arguments.case,
            arguments.full,
            arguments.path,
            arguments.dtype,
            arguments.device,
        )
    except check.NothingSelected as error:
        raise UsageError(error) from None
    left_out = {}
    if not (arguments.full or arguments.case or arguments.path or arguments.dtype):
        cases, left_out = check.for_gpu(cases)
    with _Progress(len(cases)) as progress:
        jobs = arguments.jobs or check.jobs_for(cases)
        result = check.check(cases, progress, jobs)
    result.left_out = dict(left_out)
    _write(_rendered(result, arguments), arguments.output)
    return OK if result.ok else DIFFERENCE


def _rendered(result, arguments):
    from keras_losses_ref.conformance import report

    options = arguments.all, arguments.verbose
    return report.render(result, arguments.format, *options)


def _check_own(targets, arguments):
    """Check losses of the user's: what must hold for any loss."""
    selecting = ("case", "path", "dtype", "full", "jobs")
    given = [f"--{name}" for name in selecting if getattr(arguments, name)]
    given += ["--device"] if arguments.device != "CPU:0" else []
    if given:
        raise UsageError(
            "options that choose cases are for Keras's losses. Received: "
            f"{', '.join(given)}. Remove them, and choose checks with --checks."
        )
    from keras_losses_ref.conformance import checks, report
    from keras_losses_ref.conformance.checks import command_line

    if arguments.format != "text":
        report.require(arguments.format)
    results = []
    try:
        how = {
            "domain": command_line.domain(arguments.domain),
            "declares": command_line.assignments(arguments.declare, "--declare", True),
            "expected_failures": command_line.reasons(arguments.expect),
            "checks": command_line.names(arguments.checks),
        }
        how = {name: value for name, value in how.items() if value}
        given = command_line.assignments(arguments.arguments, "--with")
        for target in targets:
            loss = command_line.loss(target, given)
            total = len(how.get("checks") or checks.CHECKS)
            with _Progress(total) as progress:
                result = checks.check_loss(
                    loss,
                    **how,
                    progress=lambda done, _, name: progress.show(done, name),
                )
            results.append(result)
    except (ImportError, TypeError, ValueError) as error:
        raise UsageError(error) from None
    result = report.merged(results)
    _write(_rendered(result, arguments), arguments.output)
    return OK if result.ok else DIFFERENCE


def _known(names, losses):
    """Refuse a name that is not in `losses`."""
    import difflib

    for name in names:
        if name not in losses:
            close = difflib.get_close_matches(name, losses, n=3, cutoff=0.4)
            raise UsageError(
                f"unknown loss. Received: {name!r}. Expected one of: "
                f"{', '.join(close or losses)}."
            )


def _plot(arguments):
    from keras_losses_ref.conformance import plot

    _known(arguments.loss, plot.CURVES)
    for path in plot.write(
        arguments.loss or plot.CURVES, arguments.output, arguments.format
    ):
        print(path)
    return OK


def _chosen_specs(names, specs):
    """The specs of the named losses; all of them if no name is given."""
    _known(names, [spec.loss for spec in specs])
    return [spec for spec in specs if not names or spec.loss in names]


def _atlas(arguments):
    from keras_losses_ref.conformance import accuracy
    from keras_losses_ref.conformance.report import accuracy as accuracy_report

    specs = _chosen_specs(arguments.loss, accuracy.SPECS)
    paths = arguments.path or accuracy.PATHS
    with _Progress(len(specs) * len(accuracy.DTYPES)) as progress:
        cells = accuracy.measure(
            specs, paths=paths, seed=arguments.seed, progress=progress.show
        )
    if arguments.output:
        accuracy_report.write(cells, arguments.output, arguments.seed)
    rows = accuracy_report.document(cells)["cells"]
    _write(accuracy_report.summary(rows), None)
    broken = accuracy_report.violations(cells)
    for line in broken:
        print(line, file=sys.stderr)
    return DIFFERENCE if broken else OK


def _bench(arguments):
    from keras_losses_ref.conformance import bench

    specs = _chosen_specs(arguments.loss, bench.SPECS)
    if arguments.device is not None:
        return _bench_device(arguments, specs)
    if arguments.memory:
        paths = arguments.path or ("eager", "graph", "xla")
        found = [(spec, path) for spec in specs for path in paths]
        with _Progress(len(found)) as progress:
            rows = bench.memories(found, progress.show)
        _write(bench.render_memory(rows, arguments.format), arguments.output)
        return OK
    paths = arguments.path or bench.PATHS
    found = bench.cells_to_measure(specs, paths, arguments.fast)
    with _Progress(len(found)) as progress:
        cells = bench.bench(found, progress.show)
    text = bench.render(cells, bench.bandwidth(), arguments.format)
    _write(text, arguments.output)
    return OK


def _bench_device(arguments, specs):
    from keras_losses_ref.conformance import bench_device

    paths = arguments.path or bench_device.PATHS
    refused = [f"--path {path}" for path in paths if path not in bench_device.PATHS]
    refused += ["--memory"] * arguments.memory
    if refused:
        raise UsageError(
            "--device measures time and memory together, on the paths "
            f"{', '.join(bench_device.PATHS)}. Received: {', '.join(refused)}. "
            "Remove it, or --device."
        )
    try:
        bench_device.require(arguments.device)
    except bench_device.NoSuchDevice as error:
        raise UsageError(error) from None
    found = bench_device.cells_to_measure(specs, paths, arguments.fast)
    with _Progress(len(found)) as progress:
        cells, left_out = bench_device.measure(found, arguments.device, progress.show)
    speed = bench_device.bandwidth(arguments.device)
    text = bench_device.render(
        cells, left_out, speed, arguments.device, arguments.format
    )
    _write(text, arguments.output)
    return OK if cells else DIFFERENCE


def _list(arguments):
    from keras_losses_ref.conformance import cases

    if arguments.deviations:
        from keras_losses_ref.conformance import deviations
        from keras_losses_ref.conformance.report import deviations as deviations_report

        text = deviations_report.render(deviations.DEVIATIONS, arguments.format)
    elif arguments.format != "text":
        raise UsageError(
            f"--format {arguments.format} is for --deviations. Received: list "
            f"{'--cases ' * arguments.cases}--format {arguments.format}. Add "
            "--deviations, or remove --format."
        )
    elif arguments.cases:
        corpus = cases.corpus(full=True)
        text = "".join(f"{case.id}  {case.why}\n" for case in corpus)
    else:
        text = "".join(f"{loss}\n" for loss in cases.HANDWRITTEN)
    _write(text, arguments.output)
    return OK


def _record(arguments):
    from keras_losses_ref.conformance import check
    from keras_losses_ref.conformance.parity import record, record_file

    if len(arguments.model) != len(arguments.data):
        raise UsageError(
            "each --model needs its --data. Received: "
            f"{len(arguments.model)} models and {len(arguments.data)} data files."
        )
    models = list(zip(arguments.model, arguments.data))
    try:
        cases, names = record.select(arguments.case, arguments.path, arguments.device)
        total = len(cases) + len(names) + len(arguments.loss) + len(models)
        with _Progress(total, arguments.progress) as progress:
            found = record.record(cases, names, arguments.loss, models, progress.show)
    except (check.NothingSelected, ImportError, record_file.Unreadable) as error:
        raise UsageError(error) from None
    _write(record_file.dumps(found), arguments.file)
    print(
        f"recorded {len(found.answers)} answers: {record.where(found)}", file=sys.stderr
    )
    return OK


def _compare(arguments):
    from keras_losses_ref.conformance.parity import diff, kept_check, record_file
    from keras_losses_ref.conformance.report import diff as diff_report

    try:
        kept = kept_check.load_both([arguments.old, arguments.new])
        if kept:
            result = kept_check.compare(*kept, _accepted(arguments))
            _write(diff_report.render(result, arguments.format), arguments.output)
            return OK if result.ok else DIFFERENCE
        old, new = record_file.load(arguments.old), record_file.load(arguments.new)
        intermediate = arguments.intermediate
        intermediate = intermediate and record_file.load(intermediate)
    except record_file.Unreadable as error:
        raise UsageError(error) from None
    result = diff.compare(old, new, _accepted(arguments), intermediate)
    _write(diff_report.render(result, arguments.format), arguments.output)
    return OK if result.ok else DIFFERENCE


def _upgrade(arguments):
    from keras_losses_ref.conformance.parity import ParityError, record_file, upgrade
    from keras_losses_ref.conformance.report import diff as diff_report, extras

    if arguments.html or arguments.format == "html":
        extras.require("html")
    options = [
        word
        for name in ("loss", "model", "data", "case", "path")
        for value in getattr(arguments, name) or []
        for word in (f"--{name}", value)
    ]
    try:
        with upgrade.ProgressDisplay() as display:
            result = upgrade.upgrade(
                arguments.old,
                arguments.new,
                _build_options(arguments),
                options,
                _accepted(arguments),
                arguments.isolate_tensorflow,
                display,
            )
    except (ParityError, record_file.Unreadable) as error:
        raise UsageError(error) from None
    if arguments.keep:
        os.makedirs(arguments.keep, exist_ok=True)
        for side, found in result.records.items():
            path = os.path.join(arguments.keep, f"{side}.json")
            _write(record_file.dumps(found), path)
    if arguments.html:
        _write(diff_report.render(result.comparison, "html"), arguments.html)
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    _write(diff_report.render(result.comparison, arguments.format), arguments.output)
    return OK if result.comparison.ok else DIFFERENCE


def _bisect(arguments):
    from keras_losses_ref.conformance.parity import ParityError, bisect, upgrade

    try:
        with upgrade.ProgressDisplay() as display:
            found = bisect.bisect(
                arguments.id,
                arguments.old,
                arguments.new,
                _build_options(arguments),
                display,
            )
    except ParityError as error:
        raise UsageError(error) from None
    _write(found.text(), arguments.output)
    return OK if isinstance(found, bisect.Unchanged) else DIFFERENCE


def _build_options(arguments):
    from keras_losses_ref.conformance.parity import venvs

    return venvs.BuildOptions(
        arguments.python,
        tuple(arguments.requirements),
        tuple(arguments.find_links),
        arguments.cache,
        arguments.installer,
    )


def _accepted(arguments):
    from keras_losses_ref.conformance.parity import diff

    listed = diff.read_accepted(arguments.accepted) if arguments.accepted else []
    return [*arguments.accept, *listed]


def _write(text, path):
    """Write to stdout, or to a file: the whole text or nothing."""
    if path is None:
        sys.stdout.write(text)
        return
    from keras_losses_ref.conformance.files import write

    write(text, path)


class _Progress:
    """A progress bar on stderr; nothing where stderr is not a terminal."""

    def __init__(self, total, lines=False):
        self.total, self.bar, self.lines = total, None, lines

    def __enter__(self):
        if sys.stderr.isatty():
            try:
                from rich.console import Console
                from rich.progress import Progress
            except ModuleNotFoundError:
                return self
            self.bar = Progress(console=Console(stderr=True), transient=True)
            self.bar.start()
            self.task = self.bar.add_task("checking", total=self.total)
        return self

    def __call__(self, done, case):
        self.show(done, f"{case.loss} {case.path}")

    def show(self, done, what):
        if self.lines:
            print(f"{done}/{self.total} {what}", file=sys.stderr, flush=True)
        if self.bar is not None:
            self.bar.update(self.task, completed=done, description=what)

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.stop()
