"""pytest's door. Loading it loads neither TensorFlow nor the kit."""


def pytest_report_header(config):
    """Name the TensorFlow and Keras under test, without importing them."""
    from importlib import metadata

    found = []
    for name in ("tensorflow", "tensorflow-cpu", "tf-nightly", "keras", "tf-keras"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return f"keras_losses_ref: {', '.join(found) or 'no TensorFlow'}"
