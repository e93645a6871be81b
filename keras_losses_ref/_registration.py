"""The import hook that makes saved losses loadable.

A saved model names `keras_losses_ref>Huber`, and Keras finds it only if the losses are
registered. Importing them with this package would import TensorFlow. So they are
imported right after Keras is, whoever imports it.
"""

import os
import sys
from collections.abc import Callable
from typing import Any


class _RegisterWithKeras:
    """Import the losses, and so register them, right after Keras is first imported.

    A finder of `sys.meta_path`. Its abstract base class would be a third of the time
    that this package takes to import, and adds nothing.
    """

    def __init__(self, package: str, import_losses: Callable[[], object]) -> None:
        self.package = package
        self.import_losses = import_losses

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Keras's own spec, whose loader imports the losses when Keras has loaded."""
        if name != self.package:
            return None
        # Asked by `importlib.util.find_spec` too, which imports nothing: stay in
        # place until the module really runs.
        finders = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(name, path, target) for finder in finders)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            run(module)
            if not _on_tensorflow(module):
                return
            host = sys.modules.get(f"{__package__}.host")
            if host is not None and not host.READY:  # it imports Keras at this moment
                host.WAITING.append(self.import_losses)
            else:
                self.import_losses()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _on_tensorflow(keras: Any) -> bool:
    """Whether a Keras that is loaded runs on TensorFlow, as our losses do."""
    config = getattr(keras, "config", None)  # Keras 2 has none, and no other backend
    return config is None or config.backend() == "tensorflow"


def register_with_keras(import_losses: Callable[[], object]) -> None:
    """Call `import_losses` now if Keras is loaded, or else once it is."""
    legacy = os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true")
    package = "tf_keras" if legacy else "keras"
    if package in sys.modules and "tensorflow" in sys.modules:
        if _on_tensorflow(sys.modules[package]):
            import_losses()
    else:
        sys.meta_path.insert(0, _RegisterWithKeras(package, import_losses))
