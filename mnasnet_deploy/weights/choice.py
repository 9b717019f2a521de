"""What a user may write behind --weights, and the weights it means."""

from pathlib import Path

from mnasnet_deploy.arch.network import Network
from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights.canonical import Weights, read_safetensors
from mnasnet_deploy.weights.initial import MAX_SEED, initial_weights

__all__ = ["load_weights"]


def load_weights(choice: str, network: Network) -> Weights:
    """Load the weights a choice means for a network.

    Args:
        choice: `random` (seed 0), `random:SEED`, or the name of a canonical .safetensors file.
        network: what they must fit.

    Raises:
        WeightsError: none of these, or weights that do not fit.
    """
    if choice == "random" or choice.startswith("random:"):
        return initial_weights(network, _seed(choice))
    path = Path(choice)
    if path.suffix != ".safetensors":
        raise WeightsError(
            f"weights '{choice}': use random, random:SEED or a .safetensors file in canonical names"
        )
    return read_safetensors(path, network)


def _seed(choice: str) -> int:
    text = choice.removeprefix("random:") if ":" in choice else "0"
    if not text.isascii() or not text.isdigit() or int(text[:20]) > MAX_SEED:
        raise WeightsError(f"weights '{choice}': the seed must be 0 to {MAX_SEED}")
    return int(text)
