"""A JupyterHub with nbgrader and PostgreSQL, on one machine, for a trial class."""
