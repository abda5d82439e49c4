"""The pairs of SOP class and transfer syntax that studies commonly come in: what a PACS is asked about in any case."""

from __future__ import annotations

from itertools import product

from pydicom import uid

Pair = tuple[str, str]
"""SOP class UID and transfer syntax UID."""

IMAGES = (
    uid.CTImageStorage,
    uid.MRImageStorage,
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.UltrasoundImageStorage,
    uid.UltrasoundMultiFrameImageStorage,
    uid.SecondaryCaptureImageStorage,
    uid.XRayAngiographicImageStorage,
    uid.PositronEmissionTomographyImageStorage,
    uid.NuclearMedicineImageStorage,
    uid.DigitalMammographyXRayImageStorageForPresentation,
)
DOCUMENTS = (
    uid.BasicTextSRStorage,
    uid.EnhancedSRStorage,
    uid.ComprehensiveSRStorage,
    uid.EncapsulatedPDFStorage,
    uid.KeyObjectSelectionDocumentStorage,
    uid.GrayscaleSoftcopyPresentationStateStorage,
)
PLAIN = (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian)
COMPRESSED = (
    uid.JPEGBaseline8Bit,
    uid.JPEGLosslessSV1,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.JPEGLSLossless,
    uid.RLELossless,
    uid.HTJ2KLossless,
)

PAIRS: tuple[Pair, ...] = tuple(
    (str(sop_class), str(syntax))
    for sop_class, syntax in (*product(IMAGES, (*PLAIN, *COMPRESSED)), *product(DOCUMENTS, PLAIN))
)
