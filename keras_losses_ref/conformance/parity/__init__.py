"""The losses of two environments: recorded in each, compared, and a change traced."""


class ParityError(Exception):
    """An upgrade or a search cannot go on; the message says why and what to do."""
