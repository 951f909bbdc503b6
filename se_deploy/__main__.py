"""`python -m se_deploy` is the same command as `se-deploy`."""

from __future__ import annotations

from se_deploy.cli.app import main

if __name__ == "__main__":
    main()
