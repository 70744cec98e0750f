"""The errors that a user can mend: each message says what came, what was expected and the fix, on one line."""


class LatentSRError(Exception):
    """Root of all errors that latentsr raises on purpose; the command line prints its text and no traceback."""


class InputError(LatentSRError):
    """An image, a file or a dataset that cannot be used as it is."""


class NotAnImageError(InputError):
    """A file that holds no image, such as a text or a structured report: a job over a folder skips it."""


class OptionError(LatentSRError):
    """An option with a value outside what is valid."""


class ModelError(LatentSRError):
    """A model or autoencoder whose files are missing, altered or do not fit."""


class StaleError(LatentSRError):
    """An existing output that was made from other input or with other settings, or that would be overwritten."""
