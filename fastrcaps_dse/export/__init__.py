"""The picked network as files that other software reads, and what it says of pictures."""
