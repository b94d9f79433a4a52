"""Folders for real servers, and the certainty that none of them outlives its test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own, for Postgres never runs as root."""
    yield from open_folder()


@pytest.fixture(scope="module")
def module_folder() -> Iterator[Path]:
    yield from open_folder()


def open_folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="headgate-test-")).resolve()
    path.chmod(0o755)
    try:
        yield path
    finally:
        for process in processes_of(path):
            process.kill()
        shutil.rmtree(path, ignore_errors=True)


def processes_of(path: Path) -> list[psutil.Process]:
    """The processes that work in a folder or name it on their command line."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and (
            any(str(path) in argument for argument in process.info["cmdline"] or ())
            or str(process.info["cwd"]).startswith(str(path))
        )
    ]
