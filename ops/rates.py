"""Rates and how sure they are."""

CONFIDENCE = 0.95
"""Of every interval."""


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a success rate.

    Raises:
        ValueError: there is no trial.
    """
    from scipy.stats import binomtest  # type: ignore[import-untyped]  # SciPy has no types, and takes 2 s to import

    if trials < 1:
        raise ValueError("without a trial there is no interval")
    found = binomtest(successes, trials).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def exact(successes: int, trials: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a success rate of Clopper and Pearson (1934), wider than Wilson's.

    Raises:
        ValueError: there is no trial.
    """
    from scipy.stats import binomtest

    if trials < 1:
        raise ValueError("without a trial there is no interval")
    found = binomtest(successes, trials).proportion_ci(confidence_level=CONFIDENCE, method="exact")
    return float(found.low), float(found.high)


def mcnemar(only_one: int, only_other: int) -> float:
    """Return how likely so uneven a split of the differing pairs is between equals: exact, two-sided."""
    from scipy.stats import binomtest

    differ = only_one + only_other
    return float(binomtest(only_one, differ, 0.5).pvalue) if differ else 1.0


def tell_rate(successes: int, trials: int) -> str:
    """Say a rate with its interval, e.g. "n=20: 70% [48, 85]"."""
    if not trials:
        return "n=0: no valid trial"
    low, high = wilson(successes, trials)
    return f"n={trials}: {successes / trials:.0%} [{low * 100:.0f}, {high * 100:.0f}]"


def tell_p(p: float | None, pairs: int) -> str:
    """Say how likely so uneven pairs are between equals, e.g. "paired p = 0.031, 20 pairs"."""
    if p is None:
        return "no common start"
    value = "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
    return f"paired {value}, {pairs} pairs"
