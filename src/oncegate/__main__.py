"""``python -m oncegate``: the command line where no script is installed."""

from oncegate.cli.main import main

if __name__ == "__main__":
    main()
