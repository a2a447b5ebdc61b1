"""The list of all that ships, for programs: `python -m ops.release.sbom [FILE]` writes it in the format CycloneDX.

The same release gives the same bytes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component as Part
from cyclonedx.model.component import ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from app.version import VERSION
from ops.release.components import Component, shipped
from ops.release.locks import ROOT

FILE: Final = ROOT / "dist" / "sbom.cdx.json"
NAME: Final = "predict-server"


def bill(components: Sequence[Component]) -> str:
    """The document, as JSON. Its serial number is made of what it lists. Raises ValueError for one that breaks the format."""
    root = Part(name=NAME, version=VERSION, type=ComponentType.APPLICATION, bom_ref=NAME)
    parts = {one: _part(one) for one in components}
    bom = Bom(
        components=parts.values(), serial_number=uuid5(NAMESPACE_URL, f"{VERSION} {sorted(map(str, components))}")
    )
    bom.metadata.component = root
    bom.metadata.timestamp = None  # type: ignore[assignment]  # the library leaves it out, as its own command does
    by_name = {(one.ecosystem, one.name): part for one, part in parts.items()}
    bom.register_dependency(root, parts.values())
    for one, part in parts.items():
        bom.register_dependency(
            part, [by_name[one.ecosystem, name] for name in one.needs if (one.ecosystem, name) in by_name]
        )
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    if errors := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"not CycloneDX: {errors}")
    return text + "\n"


def _part(one: Component) -> Part:
    return Part(
        name=one.name,
        version=one.version,
        type=ComponentType.LIBRARY,
        bom_ref=one.purl,
        purl=PackageURL.from_string(one.purl),
        licenses=[LicenseFactory().make_from_string(one.licence)],
        scope=ComponentScope.OPTIONAL if one.optional else ComponentScope.REQUIRED,
        properties=[Property(name="predict-server:ships-in", value=one.place)],
    )


def main(*arguments: str) -> int:
    target = Path(arguments[0]) if arguments else FILE
    components = shipped()
    target.parent.mkdir(exist_ok=True)
    target.write_text(bill(components))
    print(f"{target.relative_to(ROOT) if target.is_relative_to(ROOT) else target}: {len(components)} components")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
