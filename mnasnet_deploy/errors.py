"""Every error a user can meet, and the exit code each one ends in.

    MnasnetError            1   a step failed (and the base of all others)
    ├── InputError          2   what the user gave is wrong
    │   ├── SpecError           an architecture, multiplier, resolution or class count
    │   ├── WeightsError        a weights file
    │   ├── ImageError          an image, or a folder of them
    │   └── ModelFileError      a .tflite file or its sidecar
    ├── VerificationError   1   an exported file does not say what the float32 network says
    ├── StaleError          1   a generated table is older than its records
    └── NotReadyError       3   the machine, the disk or the phone is not ready
        └── PhoneError          adb or the phone cannot be used
            ├── LinkLostError       the connection was lost, and may come back
            └── NoAnswerError       the phone is frozen, or what runs on it does not end

A message is one line: what failed, why, and what to do next. Bugs are not in this tree; they stay
tracebacks. Ctrl-C ends in 130.
"""

__all__ = [
    "ImageError",
    "InputError",
    "LinkLostError",
    "MnasnetError",
    "ModelFileError",
    "NoAnswerError",
    "NotReadyError",
    "PhoneError",
    "SpecError",
    "StaleError",
    "VerificationError",
    "WeightsError",
]


class MnasnetError(Exception):
    """A step failed."""

    exit_code = 1


class InputError(MnasnetError):
    """What the user gave is wrong."""

    exit_code = 2


class SpecError(InputError):
    """An architecture, or a number that scales it, makes no network."""


class WeightsError(InputError):
    """A weights file cannot be read or belongs to another network."""


class ImageError(InputError):
    """An image, or a folder of images, cannot be used."""


class ModelFileError(InputError):
    """A .tflite file is broken, or is not what its sidecar or its name says."""


class VerificationError(MnasnetError):
    """An exported file disagrees with its float32 network by more than its scheme allows."""


class StaleError(MnasnetError):
    """A generated table is older than the records it is made from."""


class NotReadyError(MnasnetError):
    """The machine, the disk or the phone is not ready."""

    exit_code = 3


class PhoneError(NotReadyError):
    """Adb or the phone cannot be used; the message ends in what to do about it."""


class LinkLostError(PhoneError):
    """The connection to a phone was lost in the middle of something; it may come back."""


class NoAnswerError(PhoneError):
    """A deadline passed: the phone is frozen, or what runs on it does not end."""
