"""Where the numbers of a network come from: canonical names, files, initial weights."""
