"""``python -m bessemer``: the same commands as the console script."""

from bessemer.cli import main

if __name__ == "__main__":
    main()
