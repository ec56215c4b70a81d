"""Settings of nbgrader on students' servers: the course's own, and where the exchange is."""

import os
import runpy
from importlib.util import find_spec
from pathlib import Path

c = get_config()

settings = Path(find_spec("mha_course").origin).parent / "classroom" / "settings.py"
runpy.run_path(str(settings))["configure"](c, Path.home())

c.Exchange.root = os.environ["MHA_EXCHANGE"]

# The Validate button starts a kernel: nobody else on the machine can listen to it.
c.KernelManager.transport_encryption = "required"
