"""The picture tools on the CPU: enlarging, removing the background, cutting out what a word names."""
