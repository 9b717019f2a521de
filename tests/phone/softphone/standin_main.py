"""Starts the stand-in: `standin_main.py PACKAGES FORMAT NAME --flag=value ...`."""

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), *sys.argv[1].split(os.pathsep)]
sys.dont_write_bytecode = True

from softphone.standin import main  # noqa: E402

# No tidying up of the runtime: as a program that returns from its own main.
code = main(sys.argv[2], sys.argv[3:])
sys.stdout.flush()
os._exit(code)
