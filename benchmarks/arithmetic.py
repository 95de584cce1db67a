"""Compare the time of every network with the arithmetic limit of this core.

python benchmarks/arithmetic.py [--model expression --model mobile] [--repeats 40] [--markdown | --json]

The limit of a network is its multiply-adds divided by the rate at which ONNX Runtime runs one large convolution or
matrix product on this core, in float32 or, for a quantized network, in 8-bit integers. Networks are timed inside
`Analyzer.analyze` on 640x480 pixels with one face: CPU time of one thread, medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from peers import cpu_name, format_table, portraits

import mien

OPSET = 17
WARM_UP = 5
CONVOLUTION = (128, 56)
"""Channels and height = width of the measured 3x3 convolution."""
MATRIX_SIZE = 768
"""Rows and columns of the measured matrix product."""
OPERATORS = ("Conv", "Gemm", "MatMul", "QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul")
INTEGER_WEIGHTS = {"QLinearConv": 3, "QLinearMatMul": 3}
"""Position of the weights among the inputs of an operator where it is not 1."""

OpenSession = onnxruntime.InferenceSession


class TimedSession(OpenSession):
    """A session that records CPU seconds and inputs of its runs."""

    sessions: list[TimedSession]

    def __init__(self, model: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(model, *arguments, **options)
        self.model = model
        self.cpu_s = 0.0
        self.feeds: list[dict[str, np.ndarray]] = []
        TimedSession.sessions.append(self)

    def run(self, output_names: Any, input_feed: Any, run_options: Any = None) -> Any:
        start = time.thread_time()
        outputs = super().run(output_names, input_feed, run_options)
        self.cpu_s += time.thread_time() - start
        self.feeds.append(input_feed)
        return outputs


def one_thread() -> onnxruntime.SessionOptions:
    """Return options of a session with one thread that runs the graph as it is."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def multiply_adds(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> int:
    """Count the multiply-adds of convolutions and matrix products in a run with the given inputs."""
    nodes = [node for node in model.graph.node if node.op_type in OPERATORS]
    weights = [node.input[INTEGER_WEIGHTS.get(node.op_type, 1)] for node in nodes]
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    wanted = {node.output[0] for node in nodes} | (set(weights) - set(shapes))
    counted = onnx.ModelProto()
    counted.CopyFrom(model)
    del counted.graph.output[:]
    counted.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in sorted(wanted))
    session = OpenSession(counted.SerializeToString(), one_thread(), providers=["CPUExecutionProvider"])
    shapes |= {name: output.shape for name, output in zip(sorted(wanted), session.run(None, feeds), strict=True)}
    total = 0
    for node, weight in zip(nodes, weights, strict=True):
        shape = shapes[weight]
        if "Conv" in node.op_type:
            inner = int(np.prod(shape[1:]))
        else:
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            inner = shape[-1] if transposed else shape[-2]
        total += int(np.prod(shapes[node.output[0]])) * inner
    return total


def is_quantized(model: onnx.ModelProto) -> bool:
    """Return whether the network computes in 8-bit integers."""
    return any(node.op_type in ("QuantizeLinear", "QLinearConv", "DynamicQuantizeLinear") for node in model.graph.node)


def rate_model(node: onnx.NodeProto, inputs: dict[str, np.ndarray], output: int) -> onnx.ModelProto:
    """Return a model of one node; "x" is its input and the other arrays are constants."""
    kind = helper.np_dtype_to_tensor_dtype(inputs["x"].dtype)
    graph = helper.make_graph(
        [node],
        "rate",
        [helper.make_tensor_value_info("x", kind, inputs["x"].shape)],
        [helper.make_tensor_value_info("y", output, None)],
        [numpy_helper.from_array(array, name) for name, array in inputs.items() if name != "x"],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def rate_models() -> dict[str, tuple[onnx.ModelProto, np.ndarray]]:
    """Return a large convolution and a large matrix product in both precisions, with their inputs."""
    generator = np.random.default_rng(0)
    channels, side = CONVOLUTION
    image, kernel = (1, channels, side, side), (channels, channels, 3, 3)
    matrix = (MATRIX_SIZE, MATRIX_SIZE)
    scale, zero = {"scale": np.float32(0.01)}, {"zero": np.uint8(128)}

    def floats(shape: tuple[int, ...]) -> np.ndarray:
        return generator.standard_normal(shape, dtype=np.float32)

    def integers(shape: tuple[int, ...], dtype: type) -> np.ndarray:
        return generator.integers(0, 127, shape).astype(dtype)

    quantized = {name: np.asarray(value) for name, value in (scale | zero | {"weight_zero": np.int8(0)}).items()}
    convolution = {"x": floats(image), "w": floats(kernel)}
    product = {"x": floats(matrix), "w": floats(matrix)}
    integer_convolution = {"x": integers(image, np.uint8), "w": integers(kernel, np.int8)} | quantized
    integer_product = {"x": integers(matrix, np.uint8), "w": integers(matrix, np.int8)} | quantized
    names = ["x", "scale", "zero", "w", "scale", "weight_zero", "scale", "zero"]
    pads = {"pads": [1, 1, 1, 1]}
    nodes = {
        "float32 convolution": (helper.make_node("Conv", ["x", "w"], ["y"], **pads), convolution, TensorProto.FLOAT),
        "float32 matrix product": (helper.make_node("MatMul", ["x", "w"], ["y"]), product, TensorProto.FLOAT),
        "int8 convolution": (
            helper.make_node("QLinearConv", names, ["y"], **pads),
            integer_convolution,
            TensorProto.UINT8,
        ),
        "int8 matrix product": (helper.make_node("QLinearMatMul", names, ["y"]), integer_product, TensorProto.UINT8),
    }
    return {name: (rate_model(node, inputs, kind), inputs["x"]) for name, (node, inputs, kind) in nodes.items()}


def medians_s(tasks: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median CPU seconds of tasks that take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats + WARM_UP):
        for name, task in tasks.items():
            start = time.thread_time()
            task()
            if turn >= WARM_UP:
                seconds[name].append(time.thread_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def measure_rates(repeats: int) -> dict[str, float]:
    """Return multiply-adds per second of this core for each of `rate_models`."""
    tasks, counts = {}, {}
    for name, (model, x) in rate_models().items():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = OpenSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        tasks[name] = lambda session=session, x=x: session.run(None, {"x": x})
        counts[name] = multiply_adds(model, {"x": x})
    return {name: counts[name] / seconds for name, seconds in medians_s(tasks, repeats).items()}


def measure_networks(models: list[str], repeats: int) -> list[dict[str, Any]]:
    """Return CPU seconds and multiply-adds of every network of `Analyzer.analyze`, and of the whole."""
    TimedSession.sessions = []
    onnxruntime.InferenceSession = TimedSession
    analyzers = {}
    for model in models:
        first = len(TimedSession.sessions)
        analyzers[model] = (mien.Analyzer(model, threads=1), TimedSession.sessions[first:])
    onnxruntime.InferenceSession = OpenSession
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        image = mien.read_image(portraits(Path(folder))[0])
    for turn in range(repeats + WARM_UP):
        for model, (analyzer, sessions) in analyzers.items():
            for session in sessions:
                session.cpu_s, session.feeds = 0.0, []
            start = time.process_time()
            analyzer.analyze(image)
            total = time.process_time() - start
            if turn >= WARM_UP:
                seconds[model, "analyze"].append(total)
                for session in sessions:
                    seconds[model, Path(session.model).stem].append(session.cpu_s)
    rows = []
    for model, (_, sessions) in analyzers.items():
        for session in sorted(sessions, key=lambda session: session.model):
            network, graph = Path(session.model).stem, onnx.load(session.model)
            rows.append(
                {
                    "model": model,
                    "network": network,
                    "runs": len(session.feeds),
                    "is_quantized": is_quantized(graph),
                    "cpu_s": statistics.median(seconds[model, network]),
                    "multiply_adds": sum(multiply_adds(graph, feeds) for feeds in session.feeds),
                }
            )
        rows.append({"model": model, "network": "whole", "cpu_s": statistics.median(seconds[model, "analyze"])})
    return rows


def add_limits(rows: list[dict[str, Any]], rates: dict[str, float]) -> None:
    """Add the limit in seconds to the networks, and limit and share of the networks to the whole."""
    for row in rows:
        if row["network"] == "whole":
            continue
        precision = "int8" if row["is_quantized"] else "float32"
        row["limit_s"] = row["multiply_adds"] / max(rate for name, rate in rates.items() if name.startswith(precision))
    for whole in rows:
        if whole["network"] == "whole":
            networks = [row for row in rows if row["model"] == whole["model"] and row is not whole]
            whole["multiply_adds"] = sum(row["multiply_adds"] for row in networks)
            whole["limit_s"] = sum(row["limit_s"] for row in networks)
            whole["network_share"] = sum(row["cpu_s"] for row in networks) / whole["cpu_s"]


def show(results: dict[str, Any], *, markdown: bool) -> None:
    """Print rates and networks as tables."""
    rates = [["one thread of " + results["cpu"], "10^9 multiply-adds per s"]]
    rates += [[name, f"{rate / 1e9:.0f}"] for name, rate in results["rates"].items()]
    networks = [["`Analyzer`", "network", "10^6 multiply-adds", "CPU ms", "limit ms", "share of the limit's rate"]]
    for row in results["networks"]:
        name = row["network"]
        if "network_share" in row:
            name = f"whole, networks {row['network_share']:.0%}"
        milliseconds = [f"{1000 * row[key]:.2f}" for key in ("cpu_s", "limit_s")]
        share = f"{row['limit_s'] / row['cpu_s']:.0%}"
        networks.append([row["model"], name, f"{row['multiply_adds'] / 1e6:.1f}", *milliseconds, share])
    for table in (rates, networks):
        print(format_table(table, markdown=markdown), end="\n\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="default: expression and mobile")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    networks = measure_networks(options.model or ["expression", "mobile"], options.repeats)
    rates = measure_rates(options.repeats)
    add_limits(networks, rates)
    results = {"cpu": cpu_name(), "rates": rates, "networks": networks}
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        show(results, markdown=options.markdown)


if __name__ == "__main__":
    main()
