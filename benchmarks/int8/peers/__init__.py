"""Other quantizers, each run in a process and an environment of its own; these files are what runs there, beside se_deploy.images alone."""
