"""Gated PMM: the reference architecture with a gate on what is written.

Source: the deep dive's GRU + PMM (`architectures.gru_pmm`) with one addition; the gate in front of a write is
that of the Neural Turing Machine's descendants (Graves et al. 2016, Nature 538, write gate g^w).

    M_t = M_{t-1} + w_t (g_t v_t)^T,   g_t = sigmoid(G e_t + b)

The plain module writes at every step with weights that sum to 1: over a long delay thousands of writes of
about the same value pile up on what was written first. The gate can learn to close. As it scales a value
that is known before the writing, all that makes the plain module fast holds here too.
"""

from architectures.gru_pmm import GRUPMM


class GatedPMM(GRUPMM):
    """`GRUPMM` with a write gate; options and state are its own."""

    write_gate = True
