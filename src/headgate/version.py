"""The version of this package, read by the build and by ``headgate --version``."""

__version__ = "0.1.0"
