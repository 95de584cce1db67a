"""One thread for the ONNX Runtime sessions of packages that have no option for it."""

from __future__ import annotations

from typing import Any

import onnxruntime

OpenSession = onnxruntime.InferenceSession


def open_session(model: object, sess_options: Any = None, **arguments: Any) -> onnxruntime.InferenceSession:
    """Open a session as its caller asks, with one thread."""
    sess_options = sess_options or onnxruntime.SessionOptions()
    sess_options.intra_op_num_threads = 1
    return OpenSession(model, sess_options, **arguments)


onnxruntime.InferenceSession = open_session
