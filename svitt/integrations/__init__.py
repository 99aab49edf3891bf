"""Other people's models: pruning and probing them."""
