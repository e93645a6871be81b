"""A bounded cache that threads may share."""

import collections
import threading
from typing import Any


class Cache:
    """A dict of the `size` entries that were used last."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._entries = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any, default: Any = None) -> Any:
        with self._lock:
            if key not in self._entries:
                return default
            self._entries.move_to_end(key)
            return self._entries[key]

    def put(self, key: Any, value: Any) -> Any:
        """Keep `value`, unless another thread was first; what is kept then."""
        with self._lock:
            value = self._entries.setdefault(key, value)
            self._entries.move_to_end(key)
            while len(self._entries) > self.size:
                self._entries.popitem(last=False)
            return value

    def count(self, key: Any) -> int:
        """How often `key` has been counted, this time included."""
        with self._lock:
            number = self._entries.pop(key, 0) + 1
            self._entries[key] = number
            while len(self._entries) > self.size:
                self._entries.popitem(last=False)
            return number

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def __contains__(self, key):
        return key in self._entries

    def __len__(self):
        return len(self._entries)

    def __iter__(self):
        with self._lock:
            return iter(list(self._entries))

    def values(self) -> Any:
        with self._lock:
            return list(self._entries.values())
