"""`python -m lsr`: the same as the command `lsr`."""

from lsr.cli import main

if __name__ == "__main__":
    main()
