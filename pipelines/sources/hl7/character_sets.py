"""Character sets as HL7 names them (table 0211), and as codecs; names of suppliers beside them."""

from collections.abc import Mapping

UNKNOWN = "utf-8"
CHARSETS: Mapping[str, str] = {
    "ASCII": "utf-8",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    # What a file of 16-bit characters says of itself; it is read before the header can be.
    "UNICODE UTF-16": "utf-8",
    "8859/1": "latin-1",
    **{f"8859/{part}": f"iso8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 9, 15)},
    **{f"WINDOWS-125{part}": f"cp125{part}" for part in range(9)},
    "GB 18030-2000": "gb18030",
    "BIG-5": "big5",
    "KS X 1001": "euc_kr",
    "ISO IR87": "iso2022_jp_2",
    "ISO IR159": "iso2022_jp_2",
}
