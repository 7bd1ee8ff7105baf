"""The memories that come with membench: one file each, one line each in this table.

Entries are `"module:Class"` strings, so that reading the table imports nothing heavy.
"""

ARCHITECTURES = {
    # The reference and its relatives
    "gru_pmm": "architectures.gru_pmm:GRUPMM",
    "pmm_gated": "architectures.pmm_gated:GatedPMM",
    "pmm_addressed": "architectures.pmm_addressed:AddressedPMM",
    "pmm_sparse": "architectures.pmm_sparse:SparsePMM",
    "pmm_hierarchical": "architectures.pmm_hierarchical:HierarchicalPMM",
    "ntm": "architectures.ntm:NTM",
    "dnc": "architectures.dnc:DNC",
    # Recurrent networks
    "rnn": "architectures.rnn:RNN",
    "gru": "architectures.gru:GRU",
    "lstm": "architectures.lstm:LSTM",
    "slstm": "architectures.slstm:SLSTM",
    # Linear recurrences: all steps at once
    "min_gru": "architectures.min_gru:MinGRU",
    "lru": "architectures.lru:LRU",
    "ffm": "architectures.ffm:FFM",
    "mamba": "architectures.mamba:Mamba",
    "mamba2": "architectures.mamba2:Mamba2",
    "shm": "architectures.shm:SHM",
    "linear_attention": "architectures.linear_attention:LinearAttention",
    "gated_delta_net": "architectures.gated_delta_net:GatedDeltaNet",
    "mlstm": "architectures.mlstm:MLSTM",
    # Attention
    "transformer": "architectures.transformer:Transformer",
    "gtrxl": "architectures.gtrxl:GTrXL",
    # The two ends of the scale
    "none": "architectures.none:NoMemory",
    "oracle": "architectures.oracle:Oracle",
}
