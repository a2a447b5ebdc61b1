"""`python -m bench`: all tables, one after the other."""

from bench import analysis, door, fan_out, serving, streams

analysis.main()
print()
serving.main()
print()
door.main()
print()
streams.main()
print()
fan_out.main()
