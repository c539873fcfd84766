"""`python -m harness` is `innerloop`."""

from harness.cli import main

if __name__ == "__main__":
    main()
