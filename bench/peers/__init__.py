"""Servers that `python -m bench.door` compares with: all send the same body at /trading-directions."""
