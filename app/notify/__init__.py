"""Messages about locked signals and about changes of state, to webhooks and through Apprise.

What a message says, who wants it and when a failed one is tried again is pure (`message`, `backoff`, `steadiness`). The outbox
keeps each message for each target until it was sent or given up. One process of those that share the outbox, the notifier,
looks at the market and sends; each attempt is made by a process of its own (`attempt`), so that no receiver can hold up a
request.
"""
