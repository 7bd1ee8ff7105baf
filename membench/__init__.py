"""membench: which memory should a reinforcement-learning agent have?"""

__version__ = "0.1.0"
