"""What goes on while the server runs, whether a request comes or not.

events       what happens in the core: the event bus, and the table of events
interest     which tickers are in use
follower     keeps the market current in the background
broadcaster  tells those who follow a ticker what changes: live events (live_event), in a sequence that a log keeps (event_log)
"""
