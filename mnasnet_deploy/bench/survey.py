"""The phones that are attached: what each is, how it is, and what keeps it from being measured."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mnasnet_deploy.bench import adb_words, prepare
from mnasnet_deploy.bench.adb import Adb
from mnasnet_deploy.bench.adb_link import Link, Listed
from mnasnet_deploy.bench.android_record import phone_name, processor_name
from mnasnet_deploy.bench.android_state import PREFLIGHT, PhoneState, read_preflight
from mnasnet_deploy.bench.clusters import clusters
from mnasnet_deploy.bench.gates import check
from mnasnet_deploy.bench.phone_profile import differences, match
from mnasnet_deploy.bench.prepare import mended, pending
from mnasnet_deploy.bench.system import InUseError
from mnasnet_deploy.errors import PhoneError

__all__ = ["Attached", "Trouble", "survey"]

AT_ONCE = 16
ABOUT_THE_BENCH = ("ROOM", "CHARGING")
"""Gates that concern a measurement, not the phone: `mnasnet bench` speaks of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that is wrong with a phone.

    Attributes:
        name: one word for programs; a gate's in capitals.
        text: what is wrong, and how it is mended.
        fatal: nothing can be measured until it is.
    """

    name: str
    text: str
    fatal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A phone in adb's list.

    Attributes:
        listed: what adb says of it.
        state: what it says of itself; None where it was not asked or did not answer.
        troubles: what is wrong with it.
    """

    listed: Listed
    state: PhoneState | None = None
    troubles: tuple[Trouble, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether it can be measured on."""
        return self.state is not None and not any(one.fatal for one in self.troubles)

    @property
    def name(self) -> str:
        """What people call it; as adb spells its model where it does not say."""
        return phone_name(self.state) if self.state else self.listed.model.replace("_", " ")

    @property
    def processor(self) -> str:
        """Its SoC; empty where it does not say."""
        return processor_name(self.state) if self.state else ""

    @property
    def cores(self) -> str:
        """Cores of each kind, slowest first: `4+4+1`; empty where it does not say."""
        found = clusters(self.state) if self.state else ()
        return "+".join(str(len(cluster.cpus)) for cluster in found)

    @property
    def profile(self) -> str:
        """Name of the profile it fits; empty for none."""
        found = match(self.state) if self.state else None
        return found.name if found else ""


def survey(adb: Adb) -> tuple[Attached, ...]:
    """Look at every phone at once; nothing on them is changed, and one in use is left alone.

    Raises:
        PhoneError: the phones cannot be listed. What is wrong with one of them is among its
            troubles.
    """
    listed = adb.devices()
    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(listed)))) as pool:
        return tuple(pool.map(lambda one: _look(adb, one), listed))


def _look(adb: Adb, listed: Listed) -> Attached:
    if meaning := adb_words.state_meaning(listed.state):
        text = f"{meaning.what}; {meaning.cure}"
        trouble = Trouble(name=meaning.name, text=text, fatal=True)
        return Attached(listed=listed, troubles=(trouble,))
    link = Link(adb, listed.serial)
    try:
        with link.exclusive():
            state = read_preflight(link.shell(PREFLIGHT).out)
            changed = pending(link)
    except InUseError:
        text = "mnasnet is measuring on it; wait until that is done"
        return Attached(listed=listed, troubles=(Trouble(name="in-use", text=text, fatal=True),))
    except PhoneError as error:
        trouble = Trouble(name="no-answer", text=str(error), fatal=True)
        return Attached(listed=listed, troubles=(trouble,))
    return Attached(listed=listed, state=state, troubles=_troubles(state, changed))


def _troubles(state: PhoneState, changed: tuple[str, ...]) -> tuple[Trouble, ...]:
    profile = match(state)
    # What a measurement mends by itself is nothing to tell.
    passed = {*mended(prepare.changes(state, "stock", False, False)), *ABOUT_THE_BENCH}
    gates = check(
        state,
        [core.cpu for core in state.cores],
        ambient_c=None,
        stock=profile.stock_governors if profile else (),
    )
    found = [
        Trouble(name=gate.name, text=gate.message, fatal=gate.fatal)
        for gate in gates
        if gate.name not in passed
    ]
    if changed:
        text = (
            f"a run that was cut off has left changed: {', '.join(changed)}; the next one undoes it"
        )
        found.append(Trouble(name="not-restored", text=text, fatal=False))
    if profile:
        found += [
            Trouble(name="unlike-profile", text=f"{text}; the phone is right", fatal=False)
            for text in differences(profile, state)
        ]
    return tuple(found)
