"""The results of an analysis as plain numbers, and the files they are written to. Loads no torch, no matplotlib."""
