"""How far apart two colours are, for each way of seeing colour.

Loss of a cone type: the matrices of severity 1 of Machado, Oliveira and Fernandes, "A
physiologically-based model for simulation of color vision deficiency" (IEEE TVCG 15(6), 2009), on
linear RGB. Difference: CIEDE2000 (Sharma, Wu and Dalal, Color Research and Application 30, 2005).
Contrast: WCAG 2.2, relative luminance.
"""

from math import atan2, cos, degrees, exp, hypot, radians, sin, sqrt

SEEN_BY = {
    "all cones": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
WHITE = (0.95047, 1.0, 1.08883)
Three = tuple[float, float, float]


def _linear(colour: str) -> Three:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return red, green, blue


def _times(matrix: tuple[Three, ...], values: Three) -> Three:
    one, two, three = (sum(m * v for m, v in zip(row, values, strict=True)) for row in matrix)
    return one, two, three


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours given as #RRGGBB: 1 to 21."""
    light, dark = sorted((_times(XYZ, _linear(c))[1] for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _lab(colour: str, seen_by: str) -> Three:
    seen = [min(1.0, max(0.0, part)) for part in _times(SEEN_BY[seen_by], _linear(colour))]
    x, y, z = (
        part ** (1 / 3) if part > 216 / 24389 else (24389 / 27 * part + 16) / 116
        for part in (
            p / w for p, w in zip(_times(XYZ, (seen[0], seen[1], seen[2])), WHITE, strict=True)
        )
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def difference(one: str, other: str, seen_by: str) -> float:
    """CIEDE2000 of two colours given as #RRGGBB, as one of SEEN_BY sees them."""
    return ciede2000(_lab(one, seen_by), _lab(other, seen_by))


def ciede2000(one: Three, other: Three) -> float:
    """The difference of two colours given in CIELAB."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    chroma = (hypot(a1, b1) + hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * sqrt(chroma**7 / (chroma**7 + 25.0**7))
    c1, c2 = hypot(a1 * stretch, b1), hypot(a2 * stretch, b2)
    h1, h2 = (degrees(atan2(b, a * stretch)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    mean_h = (h1 + turn / 2) % 360 if c1 * c2 else h1 + h2
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * cos(radians(mean_h - 30))
        + 0.24 * cos(radians(2 * mean_h))
        + 0.32 * cos(radians(3 * mean_h + 6))
        - 0.20 * cos(radians(4 * mean_h - 63))
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    bend = 60 * exp(-(((mean_h - 275) / 25) ** 2))
    cross = -2 * sqrt(mean_c**7 / (mean_c**7 + 25.0**7)) * sin(radians(bend))
    d_l, d_c = (l2 - l1) / s_l, (c2 - c1) / s_c
    d_h = 2 * sqrt(c1 * c2) * sin(radians(turn / 2)) / s_h
    return sqrt(d_l**2 + d_c**2 + d_h**2 + cross * d_c * d_h)
