"""Run the command line: python -m pipelines."""

from .cli import main

if __name__ == "__main__":
    main()
