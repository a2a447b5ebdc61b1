"""Known vulnerabilities in pinned requirements files: `python .ci/audit.py FILE... [options of pip-audit]`.

pip-audit ends with 1 on a finding and on a lost network alike, and with 0 when its service knows none of the packages.
Here a finding, a file that is not fully pinned and anything not understood fail; advisories that cannot be had are
said in one line and pass. Nothing is resolved or installed: the pins are all there is.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

SECONDS = 60
SOCKET_SECONDS = 10
UNREACHABLE = re.compile(
    r"^(?:(?:requests|urllib3)\.exceptions\.\w+: |pip_audit\._service\.interface\.\w*Error|"
    r"ERROR:\S+:(?=Could not connect|.* is not redirecting)).*",
    re.MULTILINE,
)
Found = dict[str, Any]


def main(*arguments: str) -> int:
    try:
        done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return skipped(f"no answer within {SECONDS} s")
    if done.stdout.strip():
        return verdict(json.loads(done.stdout)["dependencies"])
    if why := UNREACHABLE.search(done.stderr):
        return skipped(why.group())
    print(f"audit failed: pip-audit ended with {done.returncode}\n{done.stderr}", file=sys.stderr)
    return 1


def command(*arguments: str) -> list[str]:
    """pip-audit on exactly the pins in the files; its cache goes into the virtual environment."""
    files = [argument for argument in arguments if argument.endswith(".txt")]
    options = [argument for argument in arguments if argument not in files]
    pins_alone = ["--no-deps", "--disable-pip", *(option for file in files for option in ("--requirement", file))]
    output = ["--format", "json", "--desc", "off", "--aliases", "on", "--progress-spinner", "off"]
    limits = ["--timeout", str(SOCKET_SECONDS), "--cache-dir", str(Path(sys.prefix) / ".audit")]
    return [sys.executable, "-m", "pip_audit", *pins_alone, *output, *limits, *options]


def verdict(dependencies: list[Found]) -> int:
    """1 if a package has a known vulnerability; says what was found and what could not be looked up."""
    audited = [found for found in dependencies if "vulns" in found]
    unknown = [found["name"] for found in dependencies if "vulns" not in found]
    if not audited:
        return skipped(f"the index has no advisory data for any of {len(unknown)} packages")
    if unknown:
        print(f"audit: no advisory data for {', '.join(unknown)}")
    findings = [described(found, vuln) for found in audited for vuln in found["vulns"]]
    if findings:
        print("audit failed: known vulnerabilities", *findings, sep="\n  ", file=sys.stderr)
        return 1
    print(f"audit: no known vulnerabilities in {len(audited)} packages")
    return 0


def described(found: Found, vuln: Found) -> str:
    names = ", ".join([vuln["id"], *sorted(vuln["aliases"])])
    fixed = f"fixed in {', '.join(vuln['fix_versions'])}" if vuln["fix_versions"] else "no fix yet"
    return f"{found['name']} {found['version']}: {names}; {fixed}"


def skipped(why: str) -> int:
    print(f"audit skipped: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
