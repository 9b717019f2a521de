"""Runs a command with software phones plugged in: `try_it.py [--phone MODEL]... -- COMMAND`.

Without a command it prints what a shell needs to reach them and waits for Ctrl-C.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from softphone.models import PHONES
from softphone.parts import missing_parts
from softphone.rig import FORMATS, Rig, temporary_folder

MISSING = 3


def main() -> int:
    """Start, run, stop; the exit code is the command's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phone", action="append", choices=sorted(PHONES), help="repeatable")
    parser.add_argument("--format", default="tf-2.19", choices=FORMATS, help="of the program")
    parser.add_argument("command", nargs="*")
    asked = parser.parse_args()
    if missing := missing_parts("namespaces", "pip-adb"):
        print(f"error: {'; '.join(map(str, missing))}", file=sys.stderr)
        return MISSING
    folder = temporary_folder()
    try:
        with Rig(folder) as rig:
            phones = [rig.phone(model) for model in asked.phone or ["pixel-8"]]
            binary = rig.benchmark_binary(asked.format)
            for phone in phones:
                name = phone.model.properties["ro.product.model"]
                text = f"SOFTWARE PHONE: {name} as {phone.serial}; its numbers are this computer's"
                print(text, flush=True)
            extra = {"BENCHMARK_BINARY": str(binary)}
            if asked.command:
                environment = {**rig.environment, **extra}
                return subprocess.run(asked.command, env=environment, check=False).returncode
            chosen = ("ANDROID_ADB_SERVER_PORT", "ADB", "ADB_USB", "ADB_EMU", "ADB_MDNS")
            for name in chosen:
                print(f"export {name}={shlex.quote(rig.environment[name])}")
            print(f"export BENCHMARK_BINARY={shlex.quote(str(binary))}", flush=True)
            while True:
                time.sleep(60)
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
