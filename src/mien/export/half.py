"""Storage of weights in half precision; inference stays in single precision."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MIN_VALUES = 256
"""Minimum number of values of a tensor that is stored as float16; biases and shape constants are smaller."""


def store_half(graph: bytes) -> bytes:
    """Store the weights of an ONNX graph as float16, each with a Cast to float32 that a session folds away.

    A weight keeps 11 significant bits: it changes by at most 1/2048 of its value, below 6e-5 by at most 3e-8. Tensors
    with values beyond the range of float16 (65504) are unchanged.
    """
    model = onnx.load_from_string(graph)
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < MIN_VALUES or np.abs(values).max() > 65504:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model.SerializeToString()
