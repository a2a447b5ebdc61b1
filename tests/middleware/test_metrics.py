"""What the metrics say of the layers."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.middleware.servers import Build
from tests.support import FakeClock, settle

pytestmark = pytest.mark.usefixtures("warm_market")


def test_the_metrics_say_what_the_layers_counted(build: Build, clock: FakeClock) -> None:
    clock.set("2025-03-11 11:30:06")
    app = build(rate_limit_analysis=3)
    client = app.test_client()
    for _ in range(4):
        client.get("/swing")
        settle(app)
    answer = client.get("/metrics")
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert values["predict_limit_decisions_total", "allowed", "analysis"] == 3
    assert values["predict_limit_decisions_total", "analysis", "refused"] == 1
    assert values["predict_cache_lookups_total", "answers", "miss"] >= 1
    made_and_kept = [values[("predict_cache_lookups_total", "answers", how)] for how in ("miss", "hit")]
    assert sum(made_and_kept) in (3, 4), "a refused one may have been at hand"
    assert values[("predict_kept_answers",)] == 1
    assert values[("predict_kept_answer_bytes",)] > 100
    assert values[("predict_access_lines_lost_total",)] == 0
    assert values["predict_under_way", "replay"] == 0
    assert values[("predict_limits_local",)] == 0
    assert values[("predict_limit_windows",)] >= 1
    assert all(
        family.documentation and family.type in ("counter", "gauge", "histogram") for family in families.values()
    )
