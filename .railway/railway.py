"""Railway's infrastructure as code: `railway config plan`, `railway config apply` (needs `pip install railway-sdk`).

The successor of railway.json, which Railway stops reading on 2026-12-01; a service is managed by one of the two. There are two
forms, and SEVERAL_REGIONS chooses. One replica with a volume, because the track record must outlive a deployment (as in
railway.json); or replicas in several regions (as in ops/regions/railway.json), which have no volume and need REDIS_URL.
"""

from railway_sdk import define_railway, github, preserve, project, service, volume

REPOSITORY = "your-account/predict-server"
SEVERAL_REGIONS = False

ONE = {"us-east4-eqdc4a": 1}
SEVERAL = {"us-east4-eqdc4a": 2, "us-west2": 1, "europe-west4-drams3a": 1, "asia-southeast1-eqsg3a": 1}
"""Replicas by region."""


@define_railway
def main(ctx=None):
    if SEVERAL_REGIONS:
        return project("predict-server", resources=[predict(SEVERAL, overlap_s=10, env={"REDIS_URL": preserve()})])
    record = volume("record")
    one = predict(ONE, overlap_s=0, env={"DATA_DIR": "/data"}, volumeMounts={"/data": record})
    return project("predict-server", resources=[record, one])


def predict(regions, *, overlap_s, env, **more):
    """The service. overlap_s: for how long old and new replicas serve together; none while they would share a volume."""
    return service(
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
            "overlapSeconds": overlap_s,
            "drainingSeconds": 25,
        },
        regions=regions,
        env={"POLYGON_API_KEY": preserve(), **env},
        **more,
    )
