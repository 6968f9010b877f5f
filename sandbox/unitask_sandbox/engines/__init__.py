"""The engines of the sandbox, one module a family; importing this package registers them all.

A new engine is a decorated function in its family's module, and a new family is one more import here.
"""

from unitask_sandbox.engines import faceswap as faceswap
from unitask_sandbox.engines.registry import ENGINES, Engine, EngineResult, engine, name_of, run

__all__ = ["ENGINES", "Engine", "EngineResult", "engine", "name_of", "run"]
