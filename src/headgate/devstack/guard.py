"""Runs one command and ends it when the process that asked for it ends, however that happens.

Run by path, with the standard library only::

    python -I -S guard.py [--user NAME] [--signal INT] -- command arguments…

The parent holds the other end of the guard's stdin. When that end closes (the parent has ended,
even by SIGKILL), or the guard receives SIGTERM or SIGINT, the command's process group gets the stop
signal, three seconds, then SIGKILL. On Linux the kernel also kills the command when the guard
itself is killed.

The guard says one line on stdout, ``started PID`` or ``failed REASON``. What the command prints,
on stdout too, goes to the guard's stderr. The guard exits with the command's exit code, with
128 + n when signal n ended it, and with 127 when it could not be started.
"""

import contextlib
import os
import pwd
import select
import signal
import sys
import time
from collections.abc import Callable

GRACE_S = 3.0
"""How long the command may take to end after the stop signal."""

PARENT_CHECK_S = 1.0
"""A forked copy of the parent may hold our stdin open, so the parent's pid is looked at as well."""

NOT_STARTED = 127
PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Runs the command until it ends or must end.

    Args:
        arguments: What follows the program's name on the command line.

    Returns:
        The exit code, as the module's documentation defines it.
    """
    parent = os.getppid()
    try:
        user, stop_signal, command = parse(arguments)
        wakeups = watch_signals()
        child = launch(command, user)
    except (OSError, ValueError) as error:
        tell(f"failed {error}")
        return NOT_STARTED
    tell(f"started {child}")
    code = os.waitstatus_to_exitcode(attend(child, stop_signal, wakeups, parent))
    # The command may have left others in its group, e.g. when it was killed.
    send(child, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def parse(arguments: list[str]) -> tuple[str | None, signal.Signals, list[str]]:
    """Reads the command line; argparse would double the time to start."""
    user, stop_signal = None, signal.SIGTERM
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            break
        value = next(rest, None)
        if argument == "--user" and value:
            user = value
        elif argument == "--signal" and value and f"SIG{value}" in signal.Signals.__members__:
            stop_signal = signal.Signals[f"SIG{value}"]
        else:
            raise ValueError(f"guard does not understand {argument} {value or ''}".rstrip())
    command = list(rest)
    if not command:
        raise ValueError("guard needs -- and a command")
    return user, stop_signal, command


def watch_signals() -> int:
    """Turns the signals that matter into bytes on a pipe, whose reading end it returns."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reading


def launch(command: list[str], user: str | None) -> int:
    """Starts the command in a session of its own and returns its pid once it really runs.

    Raises:
        OSError: The command cannot be run, or not as this user.
        ValueError: There is no such user.
    """
    # All that Python may have to load is loaded now: the user may not be able to read it.
    programs = candidates(command[0])
    become = switch_to(user) if user is not None else None
    bind_to_guard = end_with(os.getpid())
    # A successful exec closes this pipe; anything that is read from it is why there was none.
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)
            if become is not None:
                become()
            bind_to_guard()
            # Python ignores these two, and an exec would hand that down.
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            execute(programs, command)
        except BaseException as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            os.write(writing, f"cannot run {command[0]}: {reason}".encode())
        finally:
            os._exit(NOT_STARTED)
    os.close(writing)
    reason = os.read(reading, 4096).decode(errors="replace")
    os.close(reading)
    if reason:
        os.waitpid(child, 0)
        raise OSError(reason)
    return child


def candidates(name: str) -> list[str]:
    """Where a program may be; as the shell does, the PATH counts for a bare name only."""
    if os.sep in name:
        return [name]
    return [os.path.join(folder, name) for folder in os.get_exec_path()]  # noqa: PTH118


def execute(programs: list[str], command: list[str]) -> None:
    """Becomes the first of these programs that is there.

    Raises:
        OSError: There is none, or it cannot be run.
    """
    failure: OSError = FileNotFoundError("there is no such program")
    for program in programs:
        try:
            os.execv(program, command)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            # Or a folder on the PATH that this user cannot enter: a later one may have it.
            failure = error
    raise failure


def switch_to(user: str) -> Callable[[], None]:
    """Looks the user up now and returns what the child calls to become that user."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise ValueError(f"there is no user {user!r} on this machine") from None

    def become() -> None:
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)

    return become


def end_with(guard: int) -> Callable[[], None]:
    """Returns what the child calls to be killed when the guard is; does nothing off Linux."""
    if not sys.platform.startswith("linux"):
        return lambda: None
    import ctypes

    libc = ctypes.CDLL(None)

    def bind() -> None:
        # Only now: a change of credentials clears it.
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != guard:
            os._exit(NOT_STARTED)

    return bind


def attend(child: int, stop_signal: signal.Signals, wakeups: int, parent: int) -> int:
    """Waits until the child has ended, and sees to it that it does when it should.

    Returns:
        The wait status of the child.
    """
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(wakeups, select.POLLIN)
    deadline: float | None = None
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        wait_s = PARENT_CHECK_S if deadline is None else max(deadline - time.monotonic(), 0.0)
        must_end = False
        for descriptor, event in poll.poll(wait_s * 1000):
            if descriptor == wakeups:
                received = os.read(wakeups, 512)
                must_end |= signal.SIGTERM in received or signal.SIGINT in received
            elif event & select.POLLNVAL or not os.read(0, 4096):
                poll.unregister(0)
                must_end = True
        must_end |= os.getppid() != parent
        if deadline is None and must_end:
            send(child, stop_signal)
            deadline = time.monotonic() + GRACE_S
        elif deadline is not None and time.monotonic() >= deadline:
            send(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]


def send(group: int, number: signal.Signals) -> None:
    """Signals a process group, of which nothing may be left (macOS then says EPERM)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def tell(line: str) -> None:
    """Says the one line and gives stdout up, so that the parent reads to its end."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, " ".join(line.split()).encode() + b"\n")
    os.dup2(2, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
