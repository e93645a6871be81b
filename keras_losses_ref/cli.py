"""The command line: argparse and nothing else. TensorFlow loads when a command runs."""

import argparse
import difflib
import logging
import os
import sys
import traceback

OK, DIFFERENCE, USAGE, INTERNAL = 0, 1, 2, 3

_FORMATS = ("text", "json", "md", "junit")

_EPILOG = (
    "exit codes: 0 conforms; 1 a difference was found; 2 usage, unreadable file, "
    "import failure, or nothing selected; 3 internal error"
)


class UsageError(Exception):
    """What the user must change; printed in one line, exit code 2."""


def run():
    """The console script."""
    sys.exit(main(sys.argv[1:]))


def main(argv):
    """The command line without the process: returns the exit code."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has said why
        return stop.code
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        return arguments.command(arguments)
    except UsageError as error:
        return _fail(error)
    except ModuleNotFoundError as error:
        if error.name == "tensorflow":
            from keras_losses_ref import _NO_TENSORFLOW

            return _fail(_NO_TENSORFLOW)
        return _fail(error) if error.name == "rich" else _crash()
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
        help="ours, the installed tf.keras.losses and the definition, three ways",
        epilog=_EPILOG,
    )
    check.add_argument(
        "loss",
        nargs="*",
        help="classes, like Huber, all if none; or losses of your own, like "
        "my_package.losses:MyLoss",
    )
    check.add_argument(
        "--domain", help="what your loss takes: binary, one_hot, indices, real, ..."
    )
    check.add_argument(
        "--case", action="append", metavar="ID", help="an id, or a glob over ids"
    )
    check.add_argument("--path", action="append", help="eager, graph, xla or fit")
    check.add_argument("--dtype", action="append", help="float32, float16, ...")
    check.add_argument(
        "--full", action="store_true", help="every dtype on every path, not a part"
    )
    check.add_argument("--device", default="CPU:0", help="such as GPU:0")
    check.add_argument("--format", default="text", choices=_FORMATS)
    check.add_argument("--output", metavar="FILE", help="write there, not to stdout")
    check.add_argument(
        "--all", action="store_true", help="also the results that agree"
    )
    check.set_defaults(command=_check)

    list_ = commands.add_parser("list", help="losses, cases, or the ledger")
    list_.add_argument("--cases", action="store_true", help="every case and its why")
    list_.add_argument("--deviations", action="store_true", help="the ledger")
    list_.set_defaults(command=_list)
    return parser


def _version():
    from keras_losses_ref import __version__

    return f"keras-losses-ref {__version__}"


def _check(arguments):
    own = [name for name in arguments.loss if ":" in name]
    if own:
        if len(own) < len(arguments.loss):
            raise UsageError(
                "losses of your own and of Keras are checked by different commands. "
                f"Received: {' '.join(arguments.loss)}. Ask for one kind at a time."
            )
        return _check_own(own, arguments)
    from keras_losses_ref.conformance import check, report
    from keras_losses_ref.conformance.cases import HAND

    for name in arguments.loss:
        if name not in HAND:
            close = difflib.get_close_matches(name, HAND, n=3, cutoff=0.4)
            raise UsageError(
                f"unknown loss. Received: {name!r}. Expected one of: "
                f"{', '.join(close or HAND)}."
            )
    try:
        cases = check.select(
            arguments.loss,
            arguments.case,
            arguments.full,
            arguments.path,
            arguments.dtype,
        )
    except check.NothingSelected as error:
        raise UsageError(error) from None
    with _Progress(len(cases)) as progress:
        result = check.check(cases, arguments.device, progress)
    _write(report.render(result, arguments.format, arguments.all), arguments.output)
    return OK if result.ok else DIFFERENCE


def _check_own(targets, arguments):
    """What must hold for any loss, asked of the user's."""
    from keras_losses_ref.conformance import laws

    if arguments.format != "text":
        raise UsageError("a loss of your own is reported as text only so far")
    texts, ok = [], True
    for target in targets:
        try:
            loss = laws.load_target(target)
        except ImportError as error:
            raise UsageError(error) from None
        with _Progress(len(laws.LAWS)) as progress:
            try:
                result = laws.check_loss(
                    loss,
                    domain=arguments.domain,
                    progress=lambda done, _, name: progress.show(done, name),
                )
            except ValueError as error:
                raise UsageError(error) from None
        texts.append(result.text(arguments.all))
        ok = ok and result.ok
    _write("\n".join(texts), arguments.output)
    return OK if ok else DIFFERENCE


def _list(arguments):
    from keras_losses_ref.conformance import cases, deviations

    if arguments.deviations:
        for entry in deviations.DEVIATIONS:
            versions = ", ".join(f"{a} to {b or 'newest'}" for a, b in entry.versions)
            print(f"{entry.id}  [{', '.join(entry.losses)}]  Keras {versions}")
            print(f"    {entry.sentence}\n    {entry.thread}")
    elif arguments.cases:
        for case in cases.corpus(full=True):
            print(f"{case.id}  {case.why}")
    else:
        print("\n".join(cases.HAND))
    return OK


def _write(text, path):
    """To stdout, or to a file that is either whole or untouched."""
    if path is None:
        sys.stdout.write(text)
        return
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


class _Progress:
    """A bar on stderr while cases run; nothing where stderr is no terminal."""

    def __init__(self, total):
        self.total, self.bar = total, None

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
        if self.bar is not None:
            self.bar.update(self.task, completed=done, description=what)

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.stop()
