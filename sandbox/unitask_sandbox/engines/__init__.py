"""The engines of the sandbox: importing this package registers those of real.py. Other task types are simulated."""

from unitask_sandbox.engines import real as real
from unitask_sandbox.engines.registry import ENGINES, Engine, EngineResult, name_of, run
from unitask_sandbox.engines.simulated import simulate, simulate_unknown, simulated_picture, simulated_sound

__all__ = [
    "ENGINES",
    "Engine",
    "EngineResult",
    "name_of",
    "run",
    "simulate",
    "simulate_unknown",
    "simulated_picture",
    "simulated_sound",
]
