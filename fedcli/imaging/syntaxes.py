"""The transfer syntaxes in which mammograms come (PS3.5 section 10), and which of them this machine can decode."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Syntax:
    """A transfer syntax.

    Attributes:
        title: How people call it.
        identifier: Its UID.
        package: What to install for it, under a permissive licence; empty where pydicom alone decodes it.
    """

    title: str
    identifier: uid.UID
    package: str = ""


SYNTAXES = (
    Syntax(title="implicit little endian", identifier=uid.ImplicitVRLittleEndian),
    Syntax(title="explicit little endian", identifier=uid.ExplicitVRLittleEndian),
    Syntax(title="explicit big endian", identifier=uid.ExplicitVRBigEndian),
    Syntax(title="deflated", identifier=uid.DeflatedExplicitVRLittleEndian),
    Syntax(title="RLE", identifier=uid.RLELossless),
    Syntax(title="JPEG baseline", identifier=uid.JPEGBaseline8Bit, package="pillow"),
    Syntax(title="JPEG lossless", identifier=uid.JPEGLosslessSV1, package="python-gdcm"),
    Syntax(title="JPEG-LS", identifier=uid.JPEGLSLossless, package="pyjpegls"),
    Syntax(title="JPEG 2000 lossless", identifier=uid.JPEG2000Lossless, package="pillow"),
    Syntax(title="JPEG 2000", identifier=uid.JPEG2000, package="pillow"),
    Syntax(title="HTJ2K lossless", identifier=uid.HTJ2KLossless, package="pylibjpeg pylibjpeg-openjpeg"),
)


def decodable() -> dict[Syntax, bool]:
    """Tell for each syntax whether a decoder is installed."""
    return {syntax: get_decoder(syntax.identifier).is_available for syntax in SYNTAXES}
