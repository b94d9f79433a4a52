"""Reading ``headgate.yaml``."""

from pathlib import Path

from headgate.model.configuration import Configuration
from headgate.yaml_file import read_yaml


def read(file: Path) -> Configuration:
    """Read and validate a configuration file.

    Raises:
        ConfigurationError: With file, line, path and what to write instead; one line for each of
            the first ten problems.
    """
    return read_yaml(file, Configuration, what="configuration", parts="sections")
