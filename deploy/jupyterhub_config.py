"""JupyterHub for a trial class on one machine: what is set, and why.

`make hub` starts it; see the page "A class on JupyterHub" of the book. For a hub of your own, keep
what is said here about the course, and replace the spawner and the authenticator by yours.
"""

import json
import os
import sys
from pathlib import Path
from secrets import compare_digest

from jupyterhub.auth import Authenticator

c = get_config()

# What `make hub` has chosen: names, folders, ports.
trial = json.loads(Path(os.environ["MHA_TRIAL"]).read_text(encoding="utf-8"))
folder = Path(trial["folder"])
deploy = Path(__file__).resolve().parent
programs = Path(sys.executable).parent

# --- The hub itself -------------------------------------------------------------------------------

# One port is for browsers; the two others are for the hub and its proxy to talk to each other.
c.JupyterHub.bind_url = f"http://{trial['address']}:{trial['port']}"
c.JupyterHub.hub_port = trial["hub_port"]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{trial['proxy_port']}"

# Whoever is logged in, and what runs, is written down in PostgreSQL.
c.JupyterHub.db_url = trial["hub_database"]
c.JupyterHub.cookie_secret_file = str(folder / "hub" / "cookie_secret")

# The proxy reads what anybody on the network sends. So it runs under an account that has nothing.
# It ends with the hub, even if that is killed: else, the port would stay in use.
c.ConfigurableHTTPProxy.command = [
    *("setpriv", f"--reuid={trial['proxy_account']}", f"--regid={trial['proxy_account']}"),
    *("--clear-groups", "--no-new-privs", "--pdeathsig=KILL"),
    *(trial["node"], str(deploy / "node_modules" / ".bin" / "configurable-http-proxy")),
]
c.ConfigurableHTTPProxy.pid_file = str(folder / "hub" / "proxy.pid")

# All of a trial ends when the hub does.
c.JupyterHub.cleanup_servers = True
c.JupyterHub.cleanup_proxy = True

# --- Who may log in -------------------------------------------------------------------------------


class OwnPasswords(Authenticator):
    """Each has a password of their own, from a file that only root can read.

    JupyterHub's `shared-password` would let every student log in as any other.
    """

    async def authenticate(self, handler, data):  # noqa: ARG002
        """Return the name, or None."""
        right = trial["passwords"].get(data["username"])
        given = data["password"].encode()
        return data["username"] if compare_digest((right or "").encode(), given) and right else None


c.JupyterHub.authenticator_class = OwnPasswords
c.Authenticator.allowed_users = set(trial["passwords"])

# --- Students' servers ----------------------------------------------------------------------------

# nbgrader's exchange is a folder, and relies on the accounts of the system: each server runs under
# the student's own, and a submission belongs to who handed it in.
c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"
c.Spawner.cmd = [str(programs / "jupyterhub-singleuser")]
c.Spawner.default_url = "/lab"
c.Spawner.start_timeout = 120  # a whole class that starts at once, on a small machine
c.Spawner.http_timeout = 120
c.JupyterHub.concurrent_spawn_limit = 30
c.LocalProcessSpawner.popen_kwargs = {"umask": 0o077}  # also what they leave in /tmp is theirs

everywhere = {
    "PATH": os.pathsep.join([str(programs), "/usr/local/bin", "/usr/bin", "/bin"]),
    "MHA_EXCHANGE": str(folder / "exchange"),
    "OMP_NUM_THREADS": "1",  # many servers share the processors
    "PYTHONDONTWRITEBYTECODE": "1",
}
if "MHA_BOOK_URL" in os.environ:
    everywhere["MHA_BOOK_URL"] = os.environ["MHA_BOOK_URL"]


def settings(who):
    """Say in which folders a server looks for its settings, beside Jupyter's own."""
    return {"JUPYTER_CONFIG_PATH": os.pathsep.join([str(deploy / who), str(deploy / "everyone")])}


# assignment list and Validate, but no formgrader
c.Spawner.environment = everywhere | settings("learners")

# --- The course: formgrader, for instructors alone ------------------------------------------------

# A JupyterLab in the course's folder, under the course's own account: several instructors share it,
# and none of them needs an account that can read students' files.
c.JupyterHub.services = [
    {
        "name": "course",
        "url": f"http://127.0.0.1:{trial['course_port']}",
        "command": [str(programs / "jupyterhub-singleuser")],
        "user": trial["course_account"],
        "cwd": str(folder / "course"),
        "environment": everywhere | settings("course"),
        "oauth_no_confirm": True,
    }
]
# A role's users are exactly these after each start. A group's are not: who is in one stays there.
c.JupyterHub.load_roles = [
    {
        "name": "instructor",
        "users": trial["instructors"],
        "scopes": ["access:services!service=course"],
    },
]


def first_page(handler):
    """Lead instructors to formgrader, and students to their own server."""
    user = handler.current_user
    return "/services/course/formgrader" if user and user.name in trial["instructors"] else ""


c.JupyterHub.default_url = first_page
