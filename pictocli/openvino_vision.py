"""SigLIP's vision tower, computed by OpenVINO in bfloat16: what the extra `openvino` adds on CPUs that have bfloat16.

The only importer of openvino. The graph is built operation by operation from the weights that torch has loaded: that
takes 0.3 s for SigLIP base, no longer than torch takes to load it in bfloat16, where openvino's own conversion traces
the model for 3 s. The architecture is transformers' SiglipVisionModel (modeling_siglip.py, 5.23), and
tests/test_openvino_vision.py holds the vectors equal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OpenVinoVision"]

_PRECISION = "bf16"
_GELU = {"gelu": "ERF", "gelu_fast": "TANH", "gelu_new": "TANH", "gelu_pytorch_tanh": "TANH"}


class OpenVinoVision:
    """Pictures → vectors, for batches of any size."""

    def __init__(self, load: Callable[[], Any], threads: int) -> None:
        """Build and compile the graph.

        load: gives transformers' SiglipVisionModel on the CPU in float32, and is called if openvino is there. threads:
        how many to compute with. Raises ImportError without openvino, what `load` raises, and whatever openvino, or
        a tower that is built otherwise, comes up with.
        """
        openvino = _without_telemetry()
        tower = load()
        model = _Graph(openvino.opset13, tower.config).model(openvino, tower)
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISION,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # pinned, a thread waits for who else is on its core: 5 images/s, not 8
        }
        self._compiled = openvino.Core().compile_model(model, "CPU", settings)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [n, size, size, 3] → float32 [n, dim], L2-normalised, perhaps not finite."""
        found: NDArray[np.float32] = self._compiled(pixels)[0]
        return found


def _without_telemetry() -> Any:
    """The package openvino, kept from telling Google Analytics that it was imported, as it does unless told not to.

    Where openvino_telemetry cannot be imported, it is content with a stub; so that is blocked, for the whole process.
    Raises ImportError without openvino, and where openvino_telemetry is in use already: then it is too late.
    """
    name = "openvino_telemetry"
    if sys.modules.setdefault(name, None) is not None:  # type: ignore[arg-type]  # None is documented: import raises
        raise ImportError(f"{name} is in use")
    import openvino

    return openvino


class _Graph:
    """Operations of a SigLIP vision tower. Nodes go in and come out; modules are torch's, of which weights are read."""

    def __init__(self, ops: Any, config: Any) -> None:
        self._ops, self._config = ops, config

    def model(self, openvino: Any, tower: Any) -> Any:
        """From uint8 [n, size, size, 3] to float32 [n, dim], L2-normalised."""
        ops, size = self._ops, self._config.image_size
        pixels = ops.parameter([-1, size, size, 3], np.uint8)
        halved, one = (np.full(1, value, np.float32) for value in (127.5, 1))
        scaled = ops.convert(ops.transpose(pixels, [0, 3, 1, 2]), np.float32) / halved - one
        hidden = self._embeddings(scaled, tower.embeddings)
        for layer in tower.encoder.layers:
            hidden += self._attention(self._norm(hidden, layer.layer_norm1), layer.self_attn)
            hidden += self._mlp(self._norm(hidden, layer.layer_norm2), layer.mlp)
        pooled = self._head(self._norm(hidden, tower.post_layernorm), tower.head)
        vectors = ops.normalize_l2(pooled, np.array([1]), 1e-24, "max")  # of the square: torch's 1e-12
        return openvino.Model([vectors], [pixels])

    def _embeddings(self, scaled: Any, module: Any) -> Any:
        ops, conv = self._ops, module.patch_embedding
        stride = list(conv.stride)
        patches = ops.convolution(scaled, self._constant(conv.weight), stride, [0, 0], [0, 0], [1, 1])
        patches += self._constant(conv.bias.reshape(-1, 1, 1))
        flat = ops.reshape(patches, [0, self._config.hidden_size, -1], special_zero=True)
        return ops.transpose(flat, [0, 2, 1]) + self._constant(module.position_embedding.weight)

    def _attention(self, hidden: Any, module: Any) -> Any:
        queries, keys, values = (
            self._linear(hidden, each.weight, each.bias) for each in (module.q_proj, module.k_proj, module.v_proj)
        )
        return self._linear(self._attend(queries, keys, values), module.out_proj.weight, module.out_proj.bias)

    def _attend(self, queries: Any, keys: Any, values: Any) -> Any:
        """Three of [n, length, width] → [n, length of the queries, width]."""
        ops, heads, width = self._ops, self._config.num_attention_heads, self._config.hidden_size
        split = (
            ops.transpose(ops.reshape(each, [0, 0, heads, width // heads], special_zero=True), [0, 2, 1, 3])
            for each in (queries, keys, values)
        )
        mixed = ops.transpose(ops.scaled_dot_product_attention(*split), [0, 2, 1, 3])
        return ops.reshape(mixed, [0, 0, width], special_zero=True)

    def _mlp(self, hidden: Any, module: Any) -> Any:
        inner = self._linear(hidden, module.fc1.weight, module.fc1.bias)
        active = self._ops.gelu(inner, _GELU[self._config.hidden_act])
        return self._linear(active, module.fc2.weight, module.fc2.bias)

    def _norm(self, hidden: Any, module: Any) -> Any:
        centred = self._ops.mvn(hidden, [-1], True, module.eps, "INSIDE_SQRT")
        return centred * self._constant(module.weight) + self._constant(module.bias)

    def _head(self, hidden: Any, module: Any) -> Any:
        """One learned query looks at all patches: [n, length, width] → [n, width]."""
        attention = module.attention
        weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        inputs = (self._constant(module.probe), hidden, hidden)
        queries, keys, values = map(self._linear, inputs, weights, biases)
        mixed = self._linear(self._attend(queries, keys, values), attention.out_proj.weight, attention.out_proj.bias)
        found = mixed + self._mlp(self._norm(mixed, module.layernorm), module.mlp)
        return self._ops.squeeze(found, [1])

    def _linear(self, hidden: Any, weight: Any, bias: Any) -> Any:
        return self._ops.matmul(hidden, self._constant(weight), False, True) + self._constant(bias)

    def _constant(self, tensor: Any) -> Any:
        """A torch tensor as a node that shares its memory."""
        return self._ops.constant(np.ascontiguousarray(tensor.detach().numpy()), shared_memory=True)
