"""Prints the signals of SPY and QQQ as they change. It needs `python-socketio[client]`."""

import socketio

after, client = {}, socketio.Client()


@client.on("snapshot")
@client.on("signal")
def show(event, offset):
    after[event["ticker"]] = event["id"]
    print(event["ticker"], event["signal"]["action"], f"({event['freshness']})", event["signal"]["reason"], flush=True)


client.connect("http://127.0.0.1:8000", auth=lambda: {"subscribe": ["SPY", "QQQ"], "after": after}, retry=True)
client.wait()
