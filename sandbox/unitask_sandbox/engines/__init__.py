"""The engines of the sandbox, one module a family; importing this package registers them all.

A task type without an engine is simulated, and its result says so. A new engine is a decorated function in its family's
module, and a new family is one more import here.
"""

from unitask_sandbox.engines import faceswap as faceswap
from unitask_sandbox.engines import speech as speech
from unitask_sandbox.engines import tools as tools
from unitask_sandbox.engines import video as video
from unitask_sandbox.engines.registry import ENGINES, Engine, EngineResult, Needs, engine, name_of, needs_of, run
from unitask_sandbox.engines.simulated import simulate, simulated_picture

__all__ = [
    "ENGINES",
    "Engine",
    "EngineResult",
    "Needs",
    "engine",
    "name_of",
    "needs_of",
    "run",
    "simulate",
    "simulated_picture",
]
