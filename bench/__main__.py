"""`python -m bench`: all tables, one after the other."""

from bench import analysis, serving

analysis.main()
print()
serving.main()
