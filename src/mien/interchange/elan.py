"""ELAN annotation documents (.eaf): one tier per face."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from mien.interchange.face_names import face_names
from mien.video.label_segments import LabelSegment

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_TIER_TYPE = "perceived expression"


def to_eaf(segments: Sequence[LabelSegment], media: Path | None = None) -> str:
    """Return an ELAN document: a tier per face, an annotation per label segment, times in milliseconds.

    Args:
        segments: see `mien.video.label_segments`.
        media: video that ELAN opens with the document; None leaves the choice to the user.

    Source:
        EAF 3.0, Max Planck Institute for Psycholinguistics.
    """
    document = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "mien",
            "DATE": datetime.now(UTC).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    header = ElementTree.SubElement(document, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    if media is not None:
        kind = mimetypes.guess_type(media.name)[0] or "video/*"
        ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", MEDIA_URL=media.resolve().as_uri(), MIME_TYPE=kind)
    order = ElementTree.SubElement(document, "TIME_ORDER")
    slots = 0
    annotations = 0
    for (scene, track), name in face_names(segments).items():
        tier = ElementTree.SubElement(document, "TIER", LINGUISTIC_TYPE_REF=_TIER_TYPE, TIER_ID=name)
        for segment in (segment for segment in segments if (segment.scene, segment.track_id) == (scene, track)):
            start_ms = round(segment.start_s * 1000)
            # an annotation of no length is invalid
            end_ms = max(round(segment.end_s * 1000), start_ms + 1)
            for time_ms in (start_ms, end_ms):
                slots += 1
                ElementTree.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=f"ts{slots}", TIME_VALUE=str(time_ms))
            annotations += 1
            annotation = ElementTree.SubElement(
                ElementTree.SubElement(tier, "ANNOTATION"),
                "ALIGNABLE_ANNOTATION",
                ANNOTATION_ID=f"a{annotations}",
                TIME_SLOT_REF1=f"ts{slots - 1}",
                TIME_SLOT_REF2=f"ts{slots}",
            )
            ElementTree.SubElement(annotation, "ANNOTATION_VALUE").text = segment.label
    ElementTree.SubElement(
        document, "LINGUISTIC_TYPE", GRAPHIC_REFERENCES="false", LINGUISTIC_TYPE_ID=_TIER_TYPE, TIME_ALIGNABLE="true"
    )
    ElementTree.indent(document)
    return ElementTree.tostring(document, encoding="unicode", xml_declaration=True) + "\n"
