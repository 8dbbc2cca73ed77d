"""Facts of the DICOM file format that every scanner of headers relies on (PS3.5, PS3.10)."""

from functools import lru_cache

from pydicom.datadict import DicomDictionary, dictionary_VR

PREAMBLE = 128
META_START = 132
IMPLICIT_LITTLE = b"1.2.840.10008.1.2"
EXPLICIT_BIG = b"1.2.840.10008.1.2.2"
DEFLATED = b"1.2.840.10008.1.2.1.99"
# JPIP referenced deflate: the data set is deflated too.
JPIP_DEFLATED = (b"1.2.840.10008.1.2.4.95", b"1.2.840.10008.1.2.4.205")
# Older scanners of one maker wrote an implicit big endian syntax of their own.
PRIVATE_BIG = b"1.2.840.113619.5.2"

# A 16-bit length follows the VR ...
SHORT_VRS = (
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FL", "FD", "IS", "LO",
    "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US",
)  # fmt: skip
# ... or two bytes, then a 32-bit length.
LONG_VRS = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
ITEM_GROUP = 0xFFFE
PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}


@lru_cache(maxsize=65_536)
def is_plausible(tag: int, vr: str | None, is_undefined: bool) -> bool:
    """Whether a tag stands in the dictionary with this VR (None where VRs are implicit), or is
    private; of undefined length only where that is allowed."""
    if tag in PIXELS:
        return vr in (None, "OB", "OW", "OF", "OD", "OV", "UN")
    if tag & 0xFFFF == 0:  # the retired length of a group
        return vr in (None, "UL")
    if tag >> 16 & 1:
        return not is_undefined or vr in (None, "SQ", "UN")
    if tag not in DicomDictionary and (tag >> 16 & 0xFF01) not in (0x5000, 0x6000):
        return False
    allowed = dictionary_VR(tag) if tag in DicomDictionary else "OB or OW"
    is_sequence = allowed == "SQ" or vr == "UN"
    if is_undefined and not is_sequence:
        return False
    return vr in (None, "UN") or vr in allowed or tag not in DicomDictionary
