"""Everything fcnrt raises on purpose.

    FcnrtError
    ├── ModelFileError      the model file is missing, damaged, foreign, of a newer format, or lacks the parity required
    ├── FrameError          the frames have a wrong shape, dtype or size
    ├── MissingDependency   an optional package is needed for what was asked
    ├── BackendError        the engine below failed; the message carries its own words
    ├── UsageError          a Segmenter was called from two threads at once, or after close()
    └── MediaError          a picture or video could not be read or written

Every message is one line: what is wrong, what was expected, what came, what to do.
"""


class FcnrtError(Exception):
    """Base of all errors that fcnrt raises on purpose."""


class ModelFileError(FcnrtError, ValueError):
    """The model file is missing, damaged, not made by export/to_onnx.py, newer, or not certified as asked."""


class FrameError(FcnrtError, ValueError):
    """The frames have a wrong shape, dtype or size."""


class MissingDependency(FcnrtError, ImportError):
    """An optional package is needed for what was asked."""


class BackendError(FcnrtError, RuntimeError):
    """The inference engine failed; the message carries its own words."""


class UsageError(FcnrtError, RuntimeError):
    """A Segmenter was called from two threads at once, or after close()."""


class MediaError(FcnrtError, OSError):
    """A picture or video could not be read or written."""


NOT_FINITE = "scores are not finite; a half-precision file may overflow, export with --precision fp32"
