"""The predict server's core: bars in, signal out. Knows no Flask; see README.md, "The house"."""
