"""Measurements that anyone can run: `make bench`. Results of a run are kept in bench/RESULTS.md with machine and commit."""
