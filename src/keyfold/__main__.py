"""`python -m keyfold` is `keyfold`."""

from keyfold.cli.main import main

if __name__ == "__main__":
    main(prog_name="keyfold")
