"""The version matrix and the chores. `nox -l` lists them; uv builds the environments.

A Keras version is installed over the TensorFlow it is paired with, and both are named:
pip would pair TensorFlow 2.16 and later with the newest Keras.
"""

import nox

nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests"]

#: Keras's nightly build that the ledger was last matched with.
NIGHTLY = "keras-nightly==3.16.0.dev2026102704"

#: name: (requirements, environment). Each is an environment of its own.
HOSTS = {
    "tf2.12-keras2.12": (["tensorflow-cpu==2.12.1"], {}),
    "tf2.15-keras2.15": (["tensorflow-cpu==2.15.1"], {}),
    "tf2.16-keras3.4": (["tensorflow-cpu==2.16.2", "keras==3.4.1"], {}),
    "tf2.21-keras3.15": (["tensorflow-cpu==2.21.0", "keras==3.15.1"], {}),
    "tf2.21-tf_keras": (
        ["tensorflow-cpu==2.21.0", "tf_keras==2.21.0"],
        {"TF_USE_LEGACY_KERAS": "1"},
    ),
    "tf2.21-nightly": (["tensorflow-cpu==2.21.0", NIGHTLY], {}),
}

#: What each host must pass: the losses, and the conformance of the losses.
MATRIX_TESTS = ["tests/losses", "tests/conformance/test_check.py"]


def install(session, requirements):
    """This package with its tests on exactly `requirements`."""
    session.install(".[test]", *requirements)
    if NIGHTLY in requirements:
        # Both builds own the folder `keras`: TensorFlow brought the release, so it
        # goes first, and the nightly is laid down again whole.
        session.run("uv", "pip", "uninstall", "keras", external=True)
        session.install("--no-deps", "--reinstall", NIGHTLY)


@nox.session
def tests(session):
    """The default test command, on the newest TensorFlow and Keras."""
    session.install(".[test,notebooks,tensorflow-cpu]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
@nox.parametrize("host", [nox.param(name, id=name) for name in HOSTS])
def matrix(session, host):
    """The losses under one TensorFlow and Keras of the version matrix."""
    requirements, environment = HOSTS[host]
    install(session, requirements)
    session.run(
        "python",
        "-m",
        "pytest",
        *(session.posargs or MATRIX_TESTS),
        env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


@nox.session
@nox.parametrize("host", [nox.param(name, id=name) for name in HOSTS])
def check(session, host):
    """`keras-losses-ref check` under one TensorFlow and Keras."""
    requirements, environment = HOSTS[host]
    install(session, [*requirements, "rich>=12"])
    session.run("keras-losses-ref", "check", *session.posargs, env=environment)


@nox.session
def lint(session):
    """ruff, over everything."""
    session.install("ruff>=0.4")
    session.run("ruff", "check", ".")


@nox.session
def anchors(session):
    """That the oracle's anchors are what the mpmath recipe makes."""
    session.install("mpmath>=1.3", "numpy>=1.22")
    session.run("python", "tests/oracle/recipe.py", "--check")
