"""`python -m srmu` is the command `srmu`."""

from srmu.cli.app import main

if __name__ == "__main__":
    raise SystemExit(main())
