"""Starts the daemon without anything of the surrounding Python environment."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from softphone.daemon import main

main()
