"""The seed of a job's bootstrap and drawn patches, which numpy and torch must both take."""

from latentsr.errors import OptionError

END = 2**63


def check_seed(seed: int) -> None:
    """Raises OptionError for a seed that numpy or torch would refuse: to be called before the work, not after it."""
    if not 0 <= seed < END:
        raise OptionError(f"the option seed is {seed}: expected a whole number from 0 to {END - 1}")
