"""The memories that come with membench: one file each, one line each in this table.

Entries are `"module:Class"` strings, so that reading the table imports nothing heavy.
"""

ARCHITECTURES = {
    "gru": "architectures.gru:GRU",
    "gru_pmm": "architectures.gru_pmm:GRUPMM",
    "pmm_addressed": "architectures.pmm_addressed:AddressedPMM",
    "lstm": "architectures.lstm:LSTM",
    "transformer": "architectures.transformer:Transformer",
    "mamba": "architectures.mamba:Mamba",
}
