"""What the processor can compute."""

import os
import pathlib
import re

_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI")  # values of ONEDNN_MAX_CPU_ISA


def has_bfloat16() -> bool:
    """Returns whether the processor multiplies in bfloat16, by what Linux reports; False elsewhere.

    OpenVINO cannot compute in it where the environment limits oneDNN to instructions before AVX-512.
    """
    limits = (os.environ.get(f"{library}_MAX_CPU_ISA", "").upper() for library in ("ONEDNN", "DNNL"))
    if any(limit in _WITHOUT_BFLOAT16 for limit in limits):
        return False
    info = pathlib.Path("/proc/cpuinfo")
    return info.is_file() and bool(re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", info.read_text()))
