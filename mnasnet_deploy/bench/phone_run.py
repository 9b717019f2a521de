"""One run of a program on a phone: the shell script around it, and what comes back.

The state of the phone is read right before and after it in the same call, so a launch costs one
round trip. Output goes into a file and is printed when all is over: sending it meanwhile would
disturb the measurement. Numbers on one line with a random tag are the script's own.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from mnasnet_deploy.bench.benchmark_model import shell_words
from mnasnet_deploy.bench.clusters import mask
from mnasnet_deploy.bench.quick_state import Quick, around, take_states
from mnasnet_deploy.errors import LinkLostError

__all__ = ["Run", "read_run", "run_script"]

MAX_OUTPUT: Final = 256 * 1024
"""More than this is garbage, which need not be kept whole."""
_AFFINITY = re.compile(r"^pid \d+'s current affinity mask: (?P<mask>[0-9a-f,]+)\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run gave.

    Attributes:
        code: exit code; 128 + n where signal n ended it.
        output: all that the program printed, standard error included.
        before, after: the state of the phone.
        cpus: that it was allowed to run on; None where taskset did not say.
        answer: bytes of its output file; empty where none was asked for or written.
    """

    code: int
    output: str
    before: Quick
    after: Quick
    cpus: tuple[int, ...] | None
    answer: bytes = b""


def run_script(
    words: Sequence[str], cpus: Collection[int], folder: str, tag: str, answer: str = ""
) -> str:
    """A script that runs a program on some CPUs.

    Args:
        words: the program and its arguments.
        cpus: to pin it to.
        folder: for its output, on the phone; has to be there.
        tag: random letters and digits, one for each run.
        answer: a file the program writes, to be brought back and removed.
    """
    out = f"{tag}.out"
    # Hexadecimal: phones before Android 7 send everything through a terminal.
    bring = f"od -An -v -tx1 {shell_words((answer,))}; rm -f {shell_words((answer,))}\n"
    return around(
        f"cd {shell_words((folder,))} || exit 9\n"
        f"taskset {mask(cpus)} sh -c 'taskset -p $$; exec \"$@\"' sh {shell_words(tuple(words))} "
        f"> {out} 2>&1\n"
        f"r=$?; echo; echo {tag}:code:$r; cat {out}; echo; echo {tag}:answer; rm -f {out}\n"
        f"{bring if answer else ''}"
        f"echo {tag}:end"
    )


def read_run(out: bytes, tag: str) -> Run:
    """What such a script printed.

    Raises:
        LinkLostError: it is not whole.
    """
    states, text = take_states(out)
    pattern = rf"{tag}:code:(?P<code>\d+)\n(?P<out>.*)\n{tag}:answer\n(?P<answer>.*?){tag}:end"
    match = re.search(pattern, text, re.DOTALL)
    if not match or len(states) < 2:
        raise LinkLostError("the phone broke off in the middle of a run; look at the cable")
    output, cpus = match["out"], None
    if seen := _AFFINITY.match(output):
        bits = int(seen["mask"].replace(",", ""), 16)
        cpus = tuple(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)
        output = output[seen.end() :]
    if len(output) > MAX_OUTPUT:
        output = f"{output[:MAX_OUTPUT]}\n(cut: {len(output)} characters)\n"
    digits = "".join(match["answer"].split())
    return Run(
        code=int(match["code"]),
        output=output,
        before=states[0],
        after=states[-1],
        cpus=cpus,
        answer=bytes.fromhex(digits) if re.fullmatch(r"(?:[0-9a-f]{2})*", digits) else b"",
    )
