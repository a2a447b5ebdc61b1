"""What goes on while the server runs, whether a request comes or not.

events    what happens in the core: the event bus, and the table of events
interest  which tickers are in use
follower  keeps the market current in the background
"""
