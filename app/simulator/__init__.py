"""A simulated Polygon: an HTTP server on loopback, for tests and rehearsals of what happens between a server and its provider.

server             listens, answers from a transport, injects faults
faults             the faults by name
response_faults    faults of the HTTP response and of how it is sent
row_faults         faults of the bars in a response
market_faults      faults of what the provider knows: old snapshots, unscheduled closures
messages           the calls that arrive and the responses that leave
plans              what each data plan may read, and the refusal of the rest
repeated_sessions  a synthetic market that has bars of today
"""
