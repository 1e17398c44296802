"""`python -m posthorn.cli`: the command line without its entry point installed."""

from posthorn.cli.main import run

if __name__ == "__main__":
    run()
