"""Reads bars out of the files that people have, and stores them as the series of the recorded market (app/market/recorded.py).

names     ticker and span out of a file's name
files     CSV, Parquet and ZIP files, read batch by batch
shapes    which column is what
times     moments out of what files write
numbers   prices and volumes out of texts
checks    whether bars can be what their file's name says
bases     whether two series are in the same prices
series    the stored series
staging   one file is read and checked in a table of its own
merging   the staged bars become part of their series
importer  one import of many files, ticker by ticker
"""
