"""What the network is: notation, variants, layers, counts, published grids. Standard library only."""
