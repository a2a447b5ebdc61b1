"""Railway's infrastructure as code: `railway config plan`, `railway config apply` (needs `pip install railway-sdk`).

The successor of railway.json, which Railway stops reading on 2026-12-01; a service is managed by one of the two. One
replica with a volume, because the track record must outlive a deployment. Several replicas have no volume: they need
REDIS_URL.
"""

from railway_sdk import define_railway, github, preserve, project, service, volume

REPOSITORY = "your-account/predict-server"


@define_railway
def main(ctx=None):
    record = volume("record")
    predict = service(
        "predict",
        source=github(REPOSITORY),
        build={
            "builder": "RAILPACK",
            "buildCommand": "npm --prefix dashboard ci --include=dev && "
            "npm --prefix dashboard run build && rm -rf dashboard/node_modules",
        },
        start='HOST="${HOST:-::}" exec gunicorn -c gunicorn.conf.py wsgi:app',
        healthcheck="/readyz",
        healthcheckTimeout=60,
        deploy={
            "restartPolicyType": "ON_FAILURE",
            "restartPolicyMaxRetries": 10,
            "overlapSeconds": 0,
            "drainingSeconds": 25,
        },
        regions={"us-east4-eqdc4a": 1},
        env={"DATA_DIR": "/data", "POLYGON_API_KEY": preserve()},
        volumeMounts={"/data": record},
    )
    return project("predict-server", resources=[record, predict])
