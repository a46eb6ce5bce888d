"""Products in 8-bit integers for `Unpadded`: a scale for each token and each output, nothing calibrated.

A token's numbers are spread over 0 to 255 between its smallest and its largest, so one token's outlier coarsens no
other; a weight is rounded to 8 bits by its output's scale. oneDNN multiplies the integers, and what the rounding moved
is put back: y = step * (q W) + low * (sum of W) + bias. Attention, norms and GELU stay in float32.

Without VNNI a weight has 7 bits and vectors move about twice as far: `benchmarks.encoding` measures how far.
"""

from functools import cache

import torch

from helpers.errors import CourseError

ROWS = 1024  # for which oneDNN chooses the layout
LEVELS = 255
SMALLEST = 1e-12  # a step, where all of a token's numbers are equal


def available() -> bool:
    """Whether this PyTorch was built with oneDNN's 8-bit products, as for x86."""
    return hasattr(torch.ops.onednn, "qlinear_prepack") and torch.backends.mkldnn.is_available()


def quantised(*linears: torch.nn.Linear) -> "Quantised":
    """One product in place of several of the same input, their outputs side by side.

    Args:
        linears: each (width, its own outputs), with a bias, float32 on the CPU.

    Raises:
        CourseError: another dtype or device, or a PyTorch without such products.
    """
    if not available():
        raise CourseError("This PyTorch has no 8-bit products (they are built for x86); run the model as it is.")
    if any(part.weight.dtype != torch.float32 or part.weight.device.type != "cpu" for part in linears):
        raise CourseError("Only a model in float32 on the CPU can be rounded to int8; load it without a dtype.")
    weights = torch.cat([part.weight.detach() for part in linears])
    return Quantised(weights, torch.cat([part.bias.detach() for part in linears]), 63 if overflows() else 127)


class Quantised:
    """(tokens, width) to (tokens, outputs), float32 in and out.

    Args:
        weights: (outputs, width).
        bias: (outputs,).
        most: the largest integer that a weight becomes.
    """

    def __init__(self, weights: torch.Tensor, bias: torch.Tensor, most: int) -> None:
        self.bias = bias
        self.scales = weights.abs().amax(dim=1).clamp_min_(SMALLEST) / most
        rounded = (weights / self.scales[:, None]).round_()
        self.sums = rounded.sum(dim=1) * self.scales
        self.zeros = torch.zeros(len(weights), dtype=torch.int32)
        self.weights = torch.ops.onednn.qlinear_prepack(rounded.to(torch.int8), [ROWS, weights.shape[1]])

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """The product; the operation is outside PyTorch's public API, as in `unpadded.packed`."""
        low = states.amin(dim=1, keepdim=True)
        step = (states.amax(dim=1, keepdim=True) - low).div_(LEVELS).clamp_min_(SMALLEST)
        scaled = (states / step).add_(0.5 - low / step)
        levels = scaled.to(torch.int16).to(torch.uint8)  # at once it takes twice as long
        product = torch.ops.onednn.qlinear_pointwise
        found: torch.Tensor = product(
            levels, 1.0, 0, self.weights, self.scales, self.zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return found.mul_(step).add_(torch.addcmul(self.bias, low, self.sums))


@cache
def overflows() -> bool:
    """Whether this processor adds pairs of products in 16 bits, which 255 * 127 twice exceed: x86 before VNNI."""
    width = 64
    ones = torch.ops.onednn.qlinear_prepack(torch.full((width, width), 127, dtype=torch.int8), [width, width])
    scales, zeros = torch.ones(width), torch.zeros(width, dtype=torch.int32)
    most = torch.full((width, width), LEVELS, dtype=torch.uint8)
    product = torch.ops.onednn.qlinear_pointwise
    found = product(most, 1.0, 0, ones, scales, zeros, None, 1.0, 0, torch.float32, "none", [], "")
    return bool((found != width * LEVELS * 127).any())
