"""The stretches of a journal, each a file or, where the disk refuses, in memory."""
