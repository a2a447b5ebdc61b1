"""Telemetry: stages, traces, metrics, and logs. The rest of the core knows `stages` alone; the factory joins both.

stages           what the core opens around its work; measures nothing by itself
spans            stages measured: as spans, in `Server-Timing`, and as durations
tracing          which requests are recorded, and the span of each
otlp             sends spans to a collector
metrics          durations of requests and calls, and metrics that are read on demand
core_metrics     metrics of market, signals, models and the follower
server_metrics   metrics of connections, logs and traces
exposition       the text of `/metrics`
worker_metrics   one `/metrics` for several workers
pushgateway      pushes metrics where nothing can scrape them
access_log, logs the access log, and the format of the log
setup            builds all this for one process

This file stays empty of code: importing `app.telemetry.stages` loads nothing else.
"""
