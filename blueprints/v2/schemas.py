"""The schemas of the OpenAPI document, each under a name of its own: types of version 2 under the name of their class, types of
the domain under the name that NAMES gives them, so that renaming a class of the domain renames nothing that clients read."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import CoreModeRef, CoreRef, DefsRef, GenerateJsonSchema, models_json_schema
from pydantic_core.core_schema import ModelSchema

from blueprints.v2.attribute_docstrings import docstrings_of

Json = dict[str, Any]
REF: Final = "#/components/schemas/{model}"
OWN: Final = ("blueprints.v2.", "blueprints.socket_io.")
"""Types in modules below these are the API's own."""

CITATION: Final = re.compile(r"\s*\((?:[\w-]+\.md [^)]*|rulings? [^)]*|[A-Z]\d{1,2})\)")
"""A place in the specification, which docstrings name for those who read the code. The document leaves it out."""

NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "app.live.live_event": {"Missed": "MissedReason"},
    "app.market.plan": {"Market": "Market"},
    "app.model.swing": {"SwingVerdict": "SwingVerdict"},
    "app.model.verdicts": {"Verdict": "Verdict"},
    "app.notify.message": {"Condition": "NotifiedState"},
    "app.pipeline.charts": {"ChartSpan": "ChartSpan"},
    "app.signals.evidence": {"Side": "ContradictionSide"},
    "app.signals.outcomes": {"ExitKind": "ExitKind"},
    "app.structure.expansion": {"VolatilityExpansion": "NorthstarExpansion"},
    "app.structure.forecast": {
        "DirectionProb": "RpeDirectionProbabilities",
        "EntryExit": "RpeEntryExit",
        "Forecast": "RpeForecast",
        "Horizon": "RpeHorizon",
        "NextMove": "RpeNextMove",
        "OutcomeProbabilities": "RpeOutcomeProbabilities",
        "RegimeProbs": "RpeRegimeProbabilities",
        "TripleBarrier": "RpeTripleBarrier",
    },
    "app.structure.health": {"Dimensions": "NorthstarHealthDimensions", "Health": "NorthstarHealth"},
    "app.structure.levels": {"KeyLevels": "NorthstarLevels"},
    "app.structure.measured": {
        "Aggregation": "RpeAggregation",
        "Core12": "RpeMeasures",
        "FailureTokens": "RpeFailures",
        "HeldAcceptance": "RpeAcceptance",
        "MeasuredRange": "RpeRange",
        "MeasuredTruth": "RpeTruth",
        "MtfContinuity": "RpeTimeframes",
        "PriorSession": "RpePriorSession",
        "VolumeParticipation": "RpeParticipation",
    },
    "app.structure.northstar": {
        "AcceptanceState": "NorthstarAcceptance",
        "FailureState": "NorthstarFailures",
        "MemoryState": "NorthstarMemory",
        "Mtf": "NorthstarTimeframes",
        "Northstar": "Northstar",
        "ParticipationState": "NorthstarParticipation",
        "Phase1": "NorthstarReality",
        "Phase3": "NorthstarDensity",
        "Phase4": "NorthstarPermission",
    },
    "app.structure.posture": {
        "ConfidenceRisk": "RpeConfidenceRisk",
        "Cooldown": "RpeCooldown",
        "Integrity": "RpeIntegrity",
        "Invalidation": "RpeInvalidation",
        "MaterialChange": "RpeMaterialChange",
        "Mode": "RpeMode",
        "Play": "RpePlay",
        "Posture": "RpePosture",
        "PostureBias": "RpePostureBias",
        "RiskState": "RpeRiskState",
        "SignalBudget": "RpeSignalBudget",
        "SignalDensity": "RpeSignalDensity",
        "SignalHealth": "RpeSignalHealth",
        "StandDown": "RpeStandDown",
    },
    "app.structure.rpe": {"Rpe": "Rpe"},
    "app.structure.swing": {
        "Momentum": "SwingMomentum",
        "Swing": "Swing",
        "SwingDensity": "SwingDensity",
        "SwingDimensions": "SwingHealthDimensions",
        "SwingHealth": "SwingHealth",
        "SwingLevels": "SwingLevels",
        "SwingPermission": "SwingPermission",
        "SwingReality": "SwingReality",
        "TrendAlignment": "SwingTrendAlignment",
        "Volume": "SwingVolume",
    },
    "app.structure.terms": {
        "AcceptanceStrength": "AcceptanceStrength",
        "BarrierOutcome": "BarrierOutcome",
        "Bias": "Bias",
        "ChangeType": "ChangeType",
        "ConfidenceBand": "ConfidenceBand",
        "Conviction": "Conviction",
        "Direction": "StructureDirection",
        "EntryType": "EntryType",
        "ExecutionMode": "ExecutionMode",
        "ExpansionQuality": "ExpansionQuality",
        "ExpansionSignal": "ExpansionSignal",
        "FailureType": "FailureType",
        "GapBehavior": "GapBehavior",
        "HealthTier": "HealthTier",
        "HoldingPeriod": "HoldingPeriod",
        "HorizonName": "HorizonName",
        "MarketMode": "MarketMode",
        "Memory": "SessionMemory",
        "Move": "Move",
        "PlayType": "PlayType",
        "RangeState": "RangeState",
        "Regime": "Regime",
        "RiskLevel": "RiskLevel",
        "SwingConfidence": "SwingConfidence",
        "SwingDirection": "SwingDirection",
        "SwingMode": "SwingMode",
        "SwingTier": "SwingTier",
        "Throttle": "Throttle",
        "Timeframe": "Timeframe",
        "Trend": "Trend",
        "VolatilityRegime": "VolatilityRegime",
        "VolumeProfileShape": "VolumeProfileShape",
        "VolumeTrend": "VolumeTrend",
    },
    "app.structure.truth": {"RangeOutcome": "NorthstarRange"},
}
"""The name of the schema of each type of the domain that an answer holds, by module and class. A class that moves or changes
its name keeps the name of its schema: the left side follows the code, the right side is promised to clients."""


class Named(GenerateJsonSchema):
    """Makes schemas under their pinned names, without titles, which would repeat the names of classes and fields."""

    def get_defs_ref(self, core_mode_ref: CoreModeRef) -> DefsRef:
        core_ref, mode = core_mode_ref
        path, _, identity = core_ref.rpartition(":")
        return super().get_defs_ref((CoreRef(f"{schema_name(path)}:{identity}"), mode))

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: ModelSchema) -> Json:
        """The schema of a class, whose fields are described by the texts below them."""
        made = super().model_schema(schema)
        cls, properties = schema["cls"], made.get("properties", {})
        for name, text in docstrings_of(cls).items():
            if name in cls.model_fields:
                properties[cls.model_fields[name].alias or name].setdefault("description", text)
        return made


def schema_name(path: str) -> str:
    """The name of the schema of the class at `module.class`. Raises LookupError if it is one of the domain that has none."""
    module, _, name = path.rpartition(".")
    if path.startswith(OWN):
        return name
    try:
        return NAMES[module][name]
    except KeyError:
        raise LookupError(f"blueprints/v2/schemas.py: NAMES has no name for the schema of {path}") from None


def schemas_of(answers: Collection[type[BaseModel]], queries: Collection[type[BaseModel]]) -> tuple[Json, Json]:
    """The schemas of the answers and of all types in them by name, and the schema of each query by the name of its class."""
    modes: list[tuple[type[BaseModel], Any]] = [(model, "serialization") for model in sorted_by_name(answers)]
    modes += [(model, "validation") for model in sorted_by_name(queries)]
    refs, whole = models_json_schema(modes, ref_template=REF, schema_generator=Named)
    found: Json = without_citations(whole["$defs"])
    asked = {query.__name__: found.pop(_referred(refs[query, "validation"])) for query in sorted_by_name(queries)}
    return {name: {**found[name], "title": name} for name in sorted(found)}, asked


def without_citations(schema: Any) -> Any:
    """The schema whose descriptions name no places in the specification."""
    if isinstance(schema, list):
        return [without_citations(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: CITATION.sub("", value) if key == "description" and isinstance(value, str) else without_citations(value)
        for key, value in schema.items()
    }


def sorted_by_name(models: Collection[type[BaseModel]]) -> list[type[BaseModel]]:
    return sorted(models, key=lambda model: model.__name__)


def _referred(schema: Json) -> str:
    return str(schema["$ref"]).rpartition("/")[2]
