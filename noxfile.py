"""The version matrix and the chores. `nox -l` lists them; uv builds the environments.

A Keras version is installed over the TensorFlow it is paired with, and both are named:
pip would pair TensorFlow 2.16 and later with the newest Keras.
"""

import re

import nox

nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests"]

#: name: (requirements, what is laid over them, environment). Each is an environment of
#: its own. What is laid over comes without its dependencies: tf_keras would bring a
#: second TensorFlow, and a nightly Keras owns the same folder as the release.
HOSTS = {
    "tf2.12-keras2.12": (["tensorflow-cpu==2.12.1"], [], {}),
    "tf2.15-keras2.15": (["tensorflow-cpu==2.15.1"], [], {}),
    "tf2.16-keras3.4": (["tensorflow-cpu==2.16.2", "keras==3.4.1"], [], {}),
    "tf2.21-keras3.15": (["tensorflow-cpu==2.21.0", "keras==3.15.1"], [], {}),
    "tf2.21-tf_keras": (
        ["tensorflow-cpu==2.21.0", "keras==3.15.1"],
        ["tf_keras==2.21.0"],
        {"TF_USE_LEGACY_KERAS": "1"},
    ),
    # The nightly that the ledger was last matched with.
    "tf2.21-nightly": (
        ["tensorflow-cpu==2.21.0"],
        ["keras-nightly==3.16.0.dev2026102704"],
        {},
    ),
}

#: What each host must pass, beside a check.
MATRIX_TESTS = ["tests/losses", "-m", "not slow"]


def install(session, host, *more, hosts=HOSTS):
    """This package with its tests on exactly the TensorFlow and Keras of `host`."""
    requirements, overlay, environment = hosts[host]
    session.install(".[test]", *requirements, *more)
    if overlay:
        if overlay[0].startswith("keras-nightly"):
            session.run("uv", "pip", "uninstall", "keras", external=True)
        session.install("--no-deps", *overlay)
    return {**environment, "TF_CPP_MIN_LOG_LEVEL": "3"}


@nox.session
def tests(session):
    """The default test command, on the newest TensorFlow and Keras."""
    session.install(".[test,notebooks,dev,tensorflow-cpu]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
@nox.parametrize("host", [nox.param(name, id=name) for name in HOSTS])
def matrix(session, host):
    """The losses under one TensorFlow and Keras of the version matrix; a check."""
    environment = install(session, host)
    arguments = session.posargs or MATRIX_TESTS
    session.run("python", "-m", "pytest", *arguments, env=environment)
    if not session.posargs:
        session.run("keras-losses-ref", "check", env=environment)


#: Keras on JAX, without TensorFlow, as `HOSTS` has them. Keras 3.4 and 3.8 call what
#: the newest JAX no longer has inside `fit`.
_NEWEST_JAX, _OLDER_JAX = ["jax==0.10.2"], ["jax==0.5.3", "numpy<2.3"]
_JAX = {"KERAS_BACKEND": "jax"}
ON_JAX = {
    "jax-keras3.4.1": ([*_OLDER_JAX, "keras==3.4.1"], [], _JAX),
    "jax-keras3.8.0": ([*_OLDER_JAX, "keras==3.8.0"], [], _JAX),
    "jax-keras3.12.0": ([*_NEWEST_JAX, "keras==3.12.0"], [], _JAX),
    "jax-keras3.15.1": ([*_NEWEST_JAX, "keras==3.15.1"], [], _JAX),
    "jax-nightly": (
        [*_NEWEST_JAX, "keras==3.15.1"],
        HOSTS["tf2.21-nightly"][1],
        _JAX,
    ),
}

#: What JAX runs in minutes: every loss under `jax.jit`, inside `fit` and reloaded, in
#: every dtype. Left out is the path eager, on which it compiles each op for each shape
#: and dtype, for half an hour; `nox -s versions` asks that too.
JAX_PATHS = ["--path", "xla", "--path", "nested", "--path", "fit", "--path", "reloaded"]


@nox.session
def jax(session):
    """Keras on JAX, in an environment without TensorFlow."""
    requirements, _, environment = ON_JAX["jax-keras3.15.1"]
    session.install(".[jax,cli]", "pytest>=7.4", "pytest-xdist>=3.7", *requirements)
    session.run("python", "-m", "pytest", "tests/backends", *session.posargs)
    session.run("keras-losses-ref", "check", *JAX_PATHS, env=environment)


@nox.session
@nox.parametrize("host", [nox.param(name, id=name) for name in HOSTS])
def check(session, host):
    """`keras-losses-ref check` under one TensorFlow and Keras."""
    environment = install(session, host)
    session.run("keras-losses-ref", "check", *session.posargs, env=environment)


def _versions():
    """Every host of the page of versions, as `HOSTS` has them.

    Every TensorFlow with the Keras it came with; each Keras 3 that the ledger names on
    the newest TensorFlow; there Keras 2 as a package of its own, and the nightly.
    """
    newest = "tensorflow-cpu==2.21.0"
    # TensorFlow, and the Keras 3 that was current when it came out.
    came_with = {
        "2.12.1": None, "2.13.1": None, "2.14.1": None, "2.15.1": None,
        "2.16.2": "3.4.1", "2.17.1": "3.6.0", "2.18.1": "3.8.0", "2.19.1": "3.10.0",
        "2.20.0": "3.11.3", "2.21.0": "3.15.1",
    }  # fmt: skip
    keras_3 = ("3.0.5", "3.2.1", "3.3.3", "3.5.0", "3.7.0", "3.9.2", "3.12.0", "3.13.2",
               "3.14.1")  # fmt: skip
    hosts = {}
    for tensorflow, keras in came_with.items():
        words = [f"tensorflow-cpu=={tensorflow}"]
        words += [f"keras=={keras}"] if keras else []
        hosts[f"tf{tensorflow}"] = (words, [], {})
    for keras in keras_3:
        # Laid over: TensorFlow 2.21 wants Keras 3.12 or later, and runs the others.
        overlay = [f"keras=={keras}", "dm-tree"]  # Keras 3.0 needs dm-tree
        hosts[f"keras{keras}"] = ([newest], overlay, {})
    hosts["tf2.21.0-tf_keras"] = HOSTS["tf2.21-tf_keras"]
    hosts["nightly"] = HOSTS["tf2.21-nightly"]
    hosts.update(ON_JAX)
    return hosts


@nox.session(default=False)
@nox.parametrize("host", [nox.param(name, id=name) for name in _versions()])
def versions(session, host):
    """One column of docs/versions: a check, and the page."""
    environment = install(session, host, hosts=_versions())
    folder, found = "docs/versions", session.create_tmp() + "/check.json"
    session.run(
        *("keras-losses-ref", "check", "--format", "json", "--all", "--output", found),
        env=environment,
        success_codes=[0, 1],  # that it deviates is for the page to say
    )
    tool = ("python", "docs/tools/versions_page.py")
    session.run(*tool, "add", folder, host, found)
    session.run(*tool, "page", folder)


def _steps():
    """(old, new), as `upgrade` takes them: from each release to the next.

    Every TensorFlow with the Keras it came with, and with one Keras 3, which shows what
    is TensorFlow's part; every Keras 3 on the newest TensorFlow.
    """
    words = {name: " ".join(h[0] + h[1]) for name, h in _versions().items()}
    own = [words[name] for name in words if re.fullmatch(r"tf[\d.]+", name)]
    fixed = [f"tensorflow-cpu=={version} keras==3.15.1" for version in
             ("2.16.2", "2.17.1", "2.18.1", "2.19.1", "2.20.0", "2.21.0")]  # fmt: skip
    keras = [f"tensorflow-cpu==2.21.0 keras=={version}" for version in
             ("3.0.5", "3.1.1", "3.2.1", "3.3.3", "3.4.1", "3.5.0", "3.6.0", "3.7.0",
              "3.8.0", "3.9.2", "3.10.0", "3.11.3", "3.12.0", "3.13.2", "3.14.1",
              "3.15.1")]  # fmt: skip
    chains = (own, fixed, [*keras, words["nightly"]])
    return [step for chain in chains for step in zip(chain, chain[1:])]


@nox.session(default=False)
@nox.parametrize(
    "old, new", [nox.param(*step, id=" to ".join(step)) for step in _steps()]
)
def changes(session, old, new):
    """One row of what changed, in docs/versions: an upgrade by one release."""
    session.install(".[cli]")
    folder, found = "docs/versions", session.create_tmp() + "/changes.json"
    session.run(
        *("keras-losses-ref", "upgrade", old, new),
        *("--format", "json", "--output", found),
        success_codes=[0, 1],  # that something changed is for the page to say
    )
    tool = ("python", "docs/tools/versions_page.py")
    session.run(*tool, "change", folder, found)
    session.run(*tool, "page", folder)


@nox.session(name="docs-pages")
def docs_pages(session):
    """The pages that are printed by the package itself."""
    session.install(".[tensorflow-cpu]")
    page = ("--format", "md", "--output", "docs/deviations.md")
    session.run("keras-losses-ref", "list", "--deviations", *page)
    session.run("python", "docs/tools/reference_pages.py", "docs")


@nox.session(name="docs-plots")
def docs_plots(session):
    """The pictures of docs/losses.md."""
    session.install(".[html,tensorflow-cpu]")
    session.run("keras-losses-ref", "plot", "--output", "docs/plots")


@nox.session
def docs(session):
    """The site of docs/, into build/site: from the pages alone, without a network."""
    # Not the package: it is not imported. The requirements are those of its extra.
    tools = nox.project.load_toml("pyproject.toml")["project"]
    session.install(*tools["optional-dependencies"]["docs"])
    session.run("python", "-m", "sphinx", "-W", "docs", "build/site")


@nox.session
def atlas(session):
    """The atlas of errors, docs/atlas, and the README's picture of it."""
    session.install(".[cli,html,tensorflow-cpu]")
    session.run(
        *("keras-losses-ref", "atlas", "--output", "docs/atlas"),
        success_codes=[0, 1],  # where ours breaks a rule is for the page to say
    )
    session.run("python", "docs/tools/readme_picture.py", "docs")


@nox.session
def bench(session):
    """Speed and memory, docs/speed; three runs, for a machine that is idle."""
    session.install(".[cli,tensorflow-cpu]")
    command = ("keras-losses-ref", "bench", "--format", "json", "--output")
    for run, options in enumerate(([], ["--fast"], ["--fast"]), 1):
        session.run(*command, f"docs/speed/run{run}.json", *options)
    session.run(*command, "docs/speed/memory.json", "--memory")
    page = ("docs/tools/speed_page.py", "docs/speed")
    session.run("python", *page)


@nox.session
def numerics(session):
    """100,000 generated rows: nothing infinite where the truth is finite."""
    session.install(".[test,tensorflow-cpu]")
    test = "tests/losses/test_hypothesis.py"
    session.run("python", "-m", "pytest", test, "-m", "sweep", *session.posargs)


@nox.session
def lint(session):
    """ruff, over everything; mypy in strict mode, over the public API."""
    session.install("ruff>=0.4", "mypy>=1.8")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def anchors(session):
    """That the oracle's anchors are what the mpmath recipe makes."""
    session.install("mpmath>=1.3", "numpy>=1.22")
    session.run("python", "tests/oracle/recipe.py", "--check")
