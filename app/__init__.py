"""The predict server's core: bars in, signal out. Knows no Flask; see CONTRIBUTING.md, "The house"."""
