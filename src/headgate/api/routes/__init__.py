"""The routes of ``/v1``, by subject."""

from headgate.api import segments

__all__ = ["segments"]  # paths of routes use the convertor that it registers
