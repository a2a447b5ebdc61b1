"""Reading bars out of the files that people have: names, shapes, times, checks. What is stored is app/market/recorded.py's."""
