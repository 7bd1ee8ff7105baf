"""Memories with a planted fault, each of which names the law that must find it.

`around` holds the sound memories that faults are planted in, `unusual` more that are sound; the other files
hold the faults, by the kind of law that finds them. A fault stands beside a base memory, whichever it is, so
that a law cannot lean on what is peculiar to one. Whoever thinks of a fault that the laws miss adds a class.
"""

from importlib import import_module
from pkgutil import iter_modules

from mutants.around import BASES, MUTANTS, SOUND

__all__ = ["BASES", "MUTANTS", "SOUND"]

for module in iter_modules(__path__, "mutants."):
    import_module(module.name)
