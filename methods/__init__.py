"""Method adapters, one file an algorithm. Importing this package imports no torch."""

BUILT_IN = {
    "maml": "methods.maml:MAML",
    "fomaml": "methods.fomaml:FOMAML",
    "reptile": "methods.reptile:Reptile",
    "imaml-gd": "methods.imaml:ImamlGD",
    "imaml-hf": "methods.imaml:ImamlHF",
    "maml-replay": "methods.maml_replay:MAMLReplay",
    "maml-checkpointed": "methods.maml_checkpointed:MAMLCheckpointed",
    "maml-truncated": "methods.maml_truncated:MAMLTruncated",
    "imaml-neumann": "methods.imaml_neumann:ImamlNeumann",
    "imaml@authors": "methods.imaml_authors:ImamlAuthors",
    "anil": "methods.anil:ANIL",
    "meta-sgd": "methods.meta_sgd:MetaSGD",
}
"""Name -> `module:class`, in the order in which they are listed; loaded on first use."""

OVER_LIBRARIES = {
    "maml@learn2learn": "methods.peers.over_learn2learn:Learn2learnMAML",
    "fomaml@learn2learn": "methods.peers.over_learn2learn:Learn2learnFOMAML",
    "maml@higher": "methods.peers.over_higher:HigherMAML",
    "maml@torchopt": "methods.peers.over_torchopt:TorchoptMAML",
    "imaml@torchopt": "methods.peers.over_torchopt:TorchoptIMAML",
}
"""The same, of adapters that need another library to be there."""
