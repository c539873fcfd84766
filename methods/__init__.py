"""Method adapters, one file an algorithm. Importing this package imports no torch."""

BUILT_IN = {
    "maml": "methods.maml:MAML",
    "fomaml": "methods.fomaml:FOMAML",
    "reptile": "methods.reptile:Reptile",
    "imaml-gd": "methods.imaml:ImamlGD",
    "imaml-hf": "methods.imaml:ImamlHF",
}
"""Name -> `module:class`, in the order in which they are listed; loaded on first use."""
