"""What the intervals of this room are made with."""

from scipy.special import stdtrit

SIGNIFICANCE = 0.05


def t_quantile(share: float, degrees: int) -> float:
    """Quantile of Student's t with a whole number of degrees of freedom; share at least a half.

    Raises ValueError for a share below a half or not below 1, or for no degree of freedom.
    """
    if degrees < 1 or not 0.5 <= share < 1:
        raise ValueError(f"no t quantile of {share} with {degrees} degrees of freedom")
    return float(stdtrit(degrees, share))
