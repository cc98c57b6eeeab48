"""The error of the toolchain, in a module that costs nothing to import."""


class DownloadError(Exception):
    """A download failed; the text contains what, why, and what to do."""
