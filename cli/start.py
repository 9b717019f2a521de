"""The installed command: `main` with Ctrl-C heard from the first moment to the last."""

import signal
import sys

INTERRUPTED = 130


def start() -> int:
    """Run the command line; the exit code is that of `main`.

    Most of the tenth of a second before `main` goes into importing it, and what comes after it
    changes nothing any more: an interrupt is no traceback in the one, and unheard in the other.
    """
    try:
        from .main import main
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    code = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code
