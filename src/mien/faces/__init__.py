"""Face detection, alignment, landmark mesh, head pose, quality and tracking. No torch."""

from mien.faces.alignment import TEMPLATES, align_face, alignment_matrix, letterbox
from mien.faces.detection import FaceDetector
from mien.faces.landmarks import SINGLE_IMAGE, VIDEO_FRAME, FittedMesh, LandmarkMesh, MeshOptions
from mien.faces.pose import head_pose
from mien.faces.quality import face_quality
from mien.faces.tracking import FaceTracker, appearance_descriptor

__all__ = [
    "SINGLE_IMAGE",
    "TEMPLATES",
    "VIDEO_FRAME",
    "FaceDetector",
    "FaceTracker",
    "FittedMesh",
    "LandmarkMesh",
    "MeshOptions",
    "align_face",
    "alignment_matrix",
    "appearance_descriptor",
    "face_quality",
    "head_pose",
    "letterbox",
]
