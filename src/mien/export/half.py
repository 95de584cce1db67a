"""Weights stored in half precision: a model file of half the size that computes in single precision as before."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALLEST = 256
"""Tensors with fewer values stay as they are: biases, and constants of shapes."""


def store_half(graph: bytes) -> bytes:
    """The same ONNX graph with its weights as float16, each behind a Cast to float32 that a session folds away.

    A weight keeps 11 significant bits: it moves by at most 1/2048 of itself, below 6e-5 by at most 3e-8. Tensors with
    values that float16 cannot hold (beyond 65504) stay as they are.
    """
    model = onnx.load_from_string(graph)
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < SMALLEST or np.abs(values).max() > 65504:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model.SerializeToString()
