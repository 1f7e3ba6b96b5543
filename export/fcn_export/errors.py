"""The one error of the export scripts, and how any error becomes one printable line."""


class ExportError(Exception):
    """A checkpoint, an option or a file cannot be used; the command line prints the text and exits with 1."""


def one_line(error: object) -> str:
    """The text of an error, control characters escaped: file and key names may hold any."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(error))
