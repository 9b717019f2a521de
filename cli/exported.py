"""Which exported files a command means: named one by one, by network options, or all there are."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnasnet_deploy.errors import InputError
from mnasnet_deploy.results.record import Scheme

from .networks import networks

__all__ = ["DEFAULT_MODELS", "Named", "exported_files"]

DEFAULT_MODELS = Path("models")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The options that name exported files; the same ones make them in `mnasnet export`.

    Attributes:
        variant, multiplier, res, spec, grid: as in `networks`.
        schemes: none for all that are there.
    """

    variant: Sequence[str] | None
    multiplier: Sequence[str] | None
    res: Sequence[int] | None
    spec: Sequence[Path] | None
    grid: bool
    schemes: Sequence[Scheme]

    def given(self) -> bool:
        """Whether any of them stands on the command line."""
        parts = (self.variant, self.multiplier, self.res, self.spec, self.grid, self.schemes)
        return any(parts)

    def export_command(self, schemes: Iterable[str], models: Path) -> str:
        """What to type to make the files."""
        words = ["mnasnet", "export"]
        for option, values in (
            ("--variant", self.variant),
            ("--multiplier", self.multiplier),
            ("--res", self.res),
            ("--spec", self.spec),
        ):
            words += [word for value in values or () for word in (option, str(value))]
        words += ["--grid"] * self.grid
        words += [f"--{scheme}" for scheme in schemes]
        words += ["--out", str(models)] if models != DEFAULT_MODELS else []
        return shlex.join(words)


def exported_files(files: Sequence[Path], named: Named, models: Path) -> list[Path]:
    """The files to work on, each once.

    Args:
        files: as the user named them; not looked at here.
        named: what the options say.
        models: folder of exported files.

    Raises:
        InputError: files and options at once, or nothing there; the message ends in the command
            that makes it.
        SpecError: the options name no network.
    """
    if files and named.given():
        raise InputError("name files, or networks and schemes by options; not both")
    if files:
        return list(dict.fromkeys(files))
    if named.given():
        return _by_name(named, models)
    found = sorted(models.glob("*.tflite"))
    if not found:
        raise InputError(
            f"no .tflite files in {models}; name some, or make one: "
            f"'{named.export_command((), models)}'"
        )
    return found


def _by_name(named: Named, models: Path) -> list[Path]:
    from mnasnet_deploy.export.naming import SCHEMES, file_name

    found: list[Path] = []
    missing: dict[Path, Scheme] = {}
    for network in networks(
        variant=named.variant,
        multiplier=named.multiplier,
        res=named.res,
        spec=named.spec,
        grid=named.grid,
    ):
        paths = {
            models / file_name(network.name, network.multiplier, network.resolution, scheme): scheme
            for scheme in named.schemes or SCHEMES
        }
        there = [path for path in paths if path.is_file()]
        found += there
        if named.schemes or not there:
            missing |= {path: scheme for path, scheme in paths.items() if path not in there}
    if missing:
        schemes = dict.fromkeys(missing.values()) if named.schemes else ()
        raise InputError(
            f"{next(iter(missing))} is not there; make it: "
            f"'{named.export_command(schemes, models)}'"
        )
    return found
