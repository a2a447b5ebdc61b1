"""(d), (d2) FastAPI behind slowapi, prometheus-fastapi-instrumentator and OpenTelemetry, with their defaults.

(d) has the middleware that slowapi's documentation shows first, (d2) with PEER_SLOWAPI=asgi its quicker one.
"""

from __future__ import annotations

import os

from fastapi import FastAPI, Response
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from prometheus_fastapi_instrumentator import Instrumentator
from slowapi import Limiter
from slowapi.middleware import SlowAPIASGIMiddleware, SlowAPIMiddleware
from slowapi.util import get_remote_address

from bench.peers.given import BODY, LIMITS, PATH, REDIS_URL
from bench.peers.tracing import provider

app = FastAPI()
app.state.limiter = Limiter(get_remote_address, default_limits=LIMITS, storage_uri=REDIS_URL)
app.add_middleware(SlowAPIASGIMiddleware if os.environ.get("PEER_SLOWAPI") == "asgi" else SlowAPIMiddleware)


@app.get(PATH)
async def directions() -> Response:
    """The ready bytes."""
    return Response(BODY, media_type="application/json")


Instrumentator().instrument(app).expose(app)
FastAPIInstrumentor.instrument_app(app, tracer_provider=provider())
