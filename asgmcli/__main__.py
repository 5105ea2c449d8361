"""`python -m asgmcli` is `asgm`."""

from asgmcli.cli import main

if __name__ == "__main__":
    main()
