"""What the network is: notation, variants, layers, counts, published grids; no third party."""
