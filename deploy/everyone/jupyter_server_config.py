"""Settings of all servers: students' and the course's."""

c = get_config()

# Kernels talk to their server through ports of the machine, where whoever has an account could
# read along: without this, what a kernel shows goes to anyone who asks.
c.KernelManager.transport_encryption = "required"

# A terminal finds the course's commands: a login shell, the default here, would forget the PATH.
c.ServerApp.terminado_settings = {"shell_command": ["/bin/bash"]}

# There are no language servers here, and to look for them takes every server that starts a second.
c.LanguageServerManager.autodetect = False
