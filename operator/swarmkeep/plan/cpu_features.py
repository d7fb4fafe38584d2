"""Which features of a processor a process can have come to rely on. Pure.

/proc/cpuinfo names many more: what only the kernel uses, and how it deals with flaws, may differ between nodes.
"""

from __future__ import annotations

from collections.abc import Iterable

_NAMES = """
    3dnow 3dnowext 3dnowprefetch abm adx aes avx avx2 avx_vnni bmi1 bmi2 cldemote clflush clflushopt clwb clzero cmov
    cx16 cx8 enqcmd erms f16c fma fma4 fpu fsgsbase fsrm fxsr fxsr_opt gfni hle lahf_lm lwp mmx mmxext monitorx movbe
    movdir64b movdiri ospke pclmulqdq pku pni popcnt ptwrite rdpid rdrand rdseed rdtscp rtm serialize sha_ni sse sse2
    sse4_1 sse4_2 sse4a ssse3 tbm tsc vaes vpclmulqdq waitpkg wbnoinvd xop xgetbv1 xsave xsavec xsaveopt xsaves
"""
_OF_PROGRAMS = frozenset(_NAMES.split())
_FAMILIES = ("avx512", "avx10", "amx_", "apx")


def missing_features(wanted: Iterable[str], has: Iterable[str], machine: str) -> tuple[str, ...]:
    """What a process may use of `wanted` and does not find in `has`, sorted.

    Only on x86 (`machine` x86_64, or i686) the kernel names features that no program sees.
    """
    missing = sorted(set(wanted) - set(has))
    if machine and not machine.startswith(("x86", "i")):
        return tuple(missing)
    return tuple(name for name in missing if name in _OF_PROGRAMS or name.startswith(_FAMILIES))
