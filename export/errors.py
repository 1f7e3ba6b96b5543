"""The one error of the export scripts; its text is one line that says what is wrong and what to do."""


class ExportError(Exception):
    """A checkpoint, an option or a file cannot be used; the command line prints the text and exits with 1."""
