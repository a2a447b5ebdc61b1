"""The tests of clients find the official one in its own folder, as it stands there."""

import sys

from tests.markdown import ROOT

FOLDER = ROOT / "clients" / "python"
sys.path.insert(0, str(FOLDER))
