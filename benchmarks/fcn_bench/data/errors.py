"""The one error of data sets."""


class DataError(Exception):
    """A data set is missing, incomplete or damaged; the text says what to do."""
