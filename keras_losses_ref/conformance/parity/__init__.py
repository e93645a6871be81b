"""Record the losses of environments, compare them, and find the release of a change."""


class ParityError(Exception):
    """An upgrade or a search cannot go on; the message says why and what to do."""
