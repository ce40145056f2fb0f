"""What this machine's processors can do. Nothing else asks it, so that a test can try every answer on every machine.

Callers name the module (``processor.cores()``), so that replacing one function here reaches all of them.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a server without models asks for the cores alone
    import torch

_AMPERE = (8, 0)


def multiplies_bfloat16() -> bool:
    """Whether the CPU multiplies matrices in bfloat16 faster than in float32: Intel's AMX does, and AMD's AVX512-BF16.

    Intel's AVX512-BF16 without AMX doesn't: matrix products in bfloat16 then take twice as long as in float32.
    """
    import torch  # late: a server without models asks for the cores alone

    can = torch.cpu.get_capabilities()
    is_amd = str(can.get("cpu_name", "")).startswith("AMD")
    return bool(can.get("amx_bf16", False) or (is_amd and can.get("avx512_bf16", False)))


def gpu_multiplies_bfloat16(device: "torch.device") -> bool:
    """Whether a GPU has units that multiply in bfloat16: NVIDIA's from Ampere on do; AMD's all count as ones that do.

    Older ones (T4, V100) compute it by way of float32, which is slower than float32 itself, and Triton compiles no
    kernel for it there.
    """
    import torch  # late: as above

    return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= _AMPERE


def cpus() -> list[int]:
    """Return the numbers of the logical CPUs that this process may use, where the system tells; else of all."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores() -> int:
    """Return how many logical CPUs this process may use."""
    return len(cpus())
