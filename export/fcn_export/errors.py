"""The one error of the export scripts."""

from fcnrt.errors import FcnrtError


class ExportError(FcnrtError):
    """A checkpoint, an option or a file cannot be used; the command line prints the text and exits with 1."""
