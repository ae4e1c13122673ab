"""The transfer syntaxes of mammograms (PS3.5 section 10), and which of them this machine can decode."""

from __future__ import annotations

from dataclasses import dataclass

import imagecodecs
from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Syntax:
    """A transfer syntax.

    Attributes:
        title: Its common name.
        identifier: Its UID.
        rate: Megapixels per second and processor, from the file to the prepared image, measured on an image of 8.5 megapixels and
            rounded; for JPEG-LS, JPEG 2000 and HTJ2K the lossless variant was measured.
        codec: The codec in imagecodecs; '' where none is needed.
    """

    title: str
    identifier: uid.UID
    rate: float
    codec: str = ""

    @property
    def package(self) -> str:
        """The package that decodes it, under a permissive licence; '' where none is needed."""
        return "imagecodecs" if self.codec else ""


SYNTAXES = (
    Syntax(title="implicit little endian", identifier=uid.ImplicitVRLittleEndian, rate=900),
    Syntax(title="explicit little endian", identifier=uid.ExplicitVRLittleEndian, rate=900),
    Syntax(title="explicit big endian", identifier=uid.ExplicitVRBigEndian, rate=700),
    Syntax(title="deflated", identifier=uid.DeflatedExplicitVRLittleEndian, rate=150),
    Syntax(title="RLE", identifier=uid.RLELossless, rate=480, codec="DICOMRLE"),
    Syntax(title="JPEG baseline", identifier=uid.JPEGBaseline8Bit, rate=450, codec="JPEG8"),
    Syntax(title="JPEG extended", identifier=uid.JPEGExtended12Bit, rate=180, codec="JPEG8"),
    Syntax(title="JPEG lossless (57)", identifier=uid.JPEGLossless, rate=150, codec="JPEG8"),
    Syntax(title="JPEG lossless", identifier=uid.JPEGLosslessSV1, rate=160, codec="JPEG8"),
    Syntax(title="JPEG-LS", identifier=uid.JPEGLSLossless, rate=90, codec="JPEGLS"),
    Syntax(title="JPEG-LS near-lossless", identifier=uid.JPEGLSNearLossless, rate=90, codec="JPEGLS"),
    Syntax(title="JPEG 2000 lossless", identifier=uid.JPEG2000Lossless, rate=16, codec="JPEG2K"),
    Syntax(title="JPEG 2000", identifier=uid.JPEG2000, rate=16, codec="JPEG2K"),
    Syntax(title="HTJ2K lossless", identifier=uid.HTJ2KLossless, rate=225, codec="HTJ2K"),
    Syntax(title="HTJ2K lossless (RPCL)", identifier=uid.HTJ2KLosslessRPCL, rate=225, codec="HTJ2K"),
    Syntax(title="HTJ2K", identifier=uid.HTJ2K, rate=225, codec="HTJ2K"),
)


def decodable() -> dict[Syntax, bool]:
    """Return for each syntax whether a decoder is installed."""
    return {
        syntax: not syntax.codec or getattr(imagecodecs, syntax.codec).available or get_decoder(syntax.identifier).is_available
        for syntax in SYNTAXES
    }
